"""One table of commands: every command runs, helps, completes and stands in the manual."""

from __future__ import annotations

import shutil
import subprocess
import sysconfig
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

import sidecar
from sidecar.cli import arguments, help, manual, run, table
from sidecar.cli.commands import shell


class Table(SynchronousTestCase):
    def test_every_command_has_its_function(self) -> None:
        """No command of the table is without the function that it names."""
        for command in table.COMMANDS:
            self.assertTrue(callable(run.function(command)), command.words)

    def test_every_command_has_help(self) -> None:
        """``micro COMMAND --help`` names the command, its flags and what is after them; ``micro --help`` names all."""
        for command in table.COMMANDS:
            text = help.of(command)
            self.assertIn(f"Usage: micro {command.words}", text)
            for option in command.options:
                self.assertIn(f"--{option.name}", text)
            self.assertIn(command.words, help.overview())
            for line in text.splitlines():
                self.assertLessEqual(len(line), 120)

    def test_names_are_unique(self) -> None:
        """No name means two commands, no flag of a command hides a common one but ``output``'s like."""
        names = [name for command in table.COMMANDS for name in (command.words, *command.aliases)]
        self.assertEqual(sorted(names), sorted(set(names)))

    def test_did_you_mean(self) -> None:
        """A word or flag that is near a known one is answered with that one."""
        for line, meant in (
            ("serivces", "services"),
            ("lits", "list"),
            ("sidcar", "sidecar"),
            ("subscribe t --queu=x", "--queue"),
            ("call a B.C --explian", "--explain"),
            ("doctor --server_adress=x", "--server_address"),
        ):
            wrong = self.assertRaises(arguments.Wrong, arguments.parse, line.split(), {})
            self.assertIn(f"did you mean {meant}?", str(wrong))

    def test_flags_of_other_commands(self) -> None:
        """A flag that only another command has is refused, and one that is given twice too."""
        for line in ("publish t --queue=x", "call a B.C --timeout=1 --timeout=2", "list services --output=xml"):
            self.assertRaises(arguments.Wrong, arguments.parse, line.split(), {})

    def test_too_many_words(self) -> None:
        """A word more than the command takes is refused; what may hold spaces may come in several words."""
        for line in ("services x", "nodes a b", "token new a b", "maint on a b", "list services x"):
            wrong = self.assertRaises(arguments.Wrong, arguments.parse, line.split(), {})
            self.assertIn("one word too many", str(wrong))
        for line in ("services", "nodes a", "log", "log a", "maint on a", "publish t a b", "call a B.C {} x"):
            arguments.parse(line.split(), {})

    def test_durations(self) -> None:
        """Bare seconds, Go's units, and days."""
        for text, seconds in (
            ("10", 10.0),
            ("2.5", 2.5),
            ("300ms", 0.3),
            ("1m", 60.0),
            ("1d", 86400.0),
            ("1d12h", 129600.0),
        ):
            self.assertEqual(arguments.parse(["services", f"--timeout={text}"], {}).seconds("timeout"), seconds)
        for text in ("0", "-1", "soon", "¹"):
            parsed = arguments.parse(["services", f"--timeout={text}"], {})
            self.assertRaises(arguments.Wrong, parsed.seconds, "timeout")


class Generated(SynchronousTestCase):
    def test_bash(self) -> None:
        """Bash takes the script and completes commands and flags from it."""
        if shutil.which("bash") is None:
            self.skipTest("not installed: bash")
        program = shell.bash() + (
            'complete_() { COMP_WORDS=(micro "$@"); COMP_CWORD=$#; COMPREPLY=(); compopt() { :; }; _micro; '
            'echo "${COMPREPLY[@]}"; }\n'
            "complete_ subs; complete_ list ''; complete_ call --expl\n"
        )
        done = subprocess.run(["bash", "-eu", "-c", program], capture_output=True, text=True, timeout=60)
        self.assertEqual((done.stdout.splitlines(), done.stderr), (["subscribe", "services", "--explain"], ""))

    def test_other_shells(self) -> None:
        """zsh and fish, where they are installed, find no fault with theirs."""
        tried = 0
        for name, script in (("zsh", shell.zsh()), ("fish", shell.fish())):
            self.assertIn("subscribe", script)
            if shutil.which(name) is not None:
                done = subprocess.run([name, "-n"], input=script, capture_output=True, text=True, timeout=60)
                self.assertEqual((done.returncode, done.stderr), (0, ""), name)
                tried += 1
        if not tried:
            self.skipTest("not installed: zsh, fish")

    def test_manual_pages(self) -> None:
        """Every command, flag and exit code stands in a manual page, which man's formatter takes without a warning."""
        from sidecar.daemon.cmdline.flags import FLAGS

        client, daemon = manual.micro(), manual.microsidecar()
        for command in table.COMMANDS:
            self.assertIn(command.words.replace("-", "\\-"), client)
        for flag in FLAGS:
            self.assertIn(f"\\-\\-{flag.name}".replace("-", "-"), daemon)
        if shutil.which("groff") is None:
            self.skipTest("not installed: groff")
        for page in (client, daemon):
            done = subprocess.run(
                ["groff", "-man", "-Tascii", "-wall"], input=page, capture_output=True, text=True, timeout=60
            )
            self.assertEqual((done.returncode, done.stderr), (0, ""))

    def test_written(self) -> None:
        """The command writes both pages into a directory."""
        home = Path(self.mktemp())
        home.mkdir()
        manual.write(home)
        self.assertEqual(sorted(path.name for path in home.iterdir()), ["micro.1", "microsidecar.8"])

    def test_installed(self) -> None:
        """The wheel brings the pages as they are by the tables, and the scripts where shells look for them."""
        place = Path(sysconfig.get_path("data"), "share")
        if Path(sidecar.__file__).parent.parent != Path(sysconfig.get_path("purelib")):
            self.skipTest("the tests run from a checkout, and not from the installed wheel")
        home = Path(self.mktemp())
        written = shell.write_share(home)
        self.assertEqual(len(written), 7)
        for path in written:
            self.assertEqual((place / path).read_text(), (home / path).read_text(), path)


class Programs(SynchronousTestCase):
    """A command that runs a program leaves that its own flags."""

    def parsed(self, line: str) -> tuple[list[str], list[str], list[str]]:
        """:returns: the program, the daemon's flags, and the values of ``--watch``."""
        found = arguments.parse(line.split(), {})
        assert found.command is not None
        self.assertEqual(found.command.words, "dev")
        return found.program, found.passed, found.every("watch")

    def test_after_dashes(self) -> None:
        """What follows ``--`` is the program, whatever it looks like; what is before is ours and the daemon's."""
        program = ["python", "app.py", "--port", "1", "--watch", "--", "x"]
        for line in ("dev --port 2 --watch --", "--port 2 dev --watch --", "dev --watch --port=2 --"):
            found, passed, watched = self.parsed(f"{line} {' '.join(program)}")
            self.assertEqual((found, passed[0].partition("=")[0], watched), (program, "--port", ["."]))

    def test_without_dashes(self) -> None:
        """The first word that is no flag and no flag's value begins it."""
        found = self.parsed("dev --port 2 --name dev --app_port 3 --watch=src --watch=etc flask run --port 4")
        self.assertEqual(found, (["flask", "run", "--port", "4"], ["--port", "2"], ["src", "etc"]))

    def test_nothing(self) -> None:
        """No program is none."""
        for line in ("dev", "dev --watch", "dev --"):
            self.assertEqual(self.parsed(line)[0], [])
        self.assertRaises(arguments.Wrong, arguments.parse, ["dev", "--wach", "--", "x"], {})
