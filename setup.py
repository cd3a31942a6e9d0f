"""Everything is in setup.cfg, but the manual pages and completions, which the tables of commands and flags make."""

import sys
from pathlib import Path

from setuptools import setup
from setuptools.dist import Distribution

# What the installer of data files is: setuptools has none of its own.
install_data = Distribution().get_command_class("install_data")


class InstallPages(install_data):
    """Writes the pages, and installs them as data files: below share/ of the environment."""

    def run(self):
        sys.path.insert(0, str(Path(__file__).parent))
        from sidecar.cli.commands import shell

        place = Path(self.get_finalized_command("build").build_temp, "share")
        self.data_files = [(f"share/{path.parent}", [str(place / path)]) for path in shell.write_share(place)]
        super().run()


setup(cmdclass={"install_data": InstallPages}, data_files=[("share", [])])
