"""Paths that mean services, as the original maps them."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from sidecar.wire.gateway import mapping
from sidecar.wire.gateway.mapping import PathTarget


class CallTests(SynchronousTestCase):
    def test_the_original_s_mapping(self) -> None:
        """The last two segments are the method, all but these the service; two segments name the service by the first,
        and so do three that begin with a version."""
        for path, service, method in (
            (b"/say/hello", "say", "Say.Hello"),
            (b"/greeter/say/hello", "greeter", "Say.Hello"),
            (b"/a/b/c/d", "a.b", "C.D"),
            (b"/v1/say/hello", "v1.say", "Say.Hello"),
            (b"/v1/greeter/say/hello", "v1.greeter", "Say.Hello"),
            (b"/v12/a/b/c/d", "v12.a.b", "C.D"),
            (b"/vx/say/hello", "vx", "Say.Hello"),
            (b"/v1/hello", "v1", "V1.Hello"),
            (b"/foo/bar/baz-xyz", "foo", "Bar.BazXyz"),
            (b"/foo/ba-r/b", "foo", "BaR.B"),
            (b"/greeter/Say/Hello", "greeter", "Say.Hello"),
            (b"/foo-bar/baz/qux", "foo-bar", "Baz.Qux"),
        ):
            self.assertEqual(
                mapping.of_call(path, "go.micro.srv"), PathTarget(f"go.micro.srv.{service}", service, method), path
            )

    def test_the_path_is_cleaned_first(self) -> None:
        """Doubled slashes, one at the end, dots and escapes mean what they mean in Go."""
        for path in (b"//greeter//say/hello/", b"/x/../greeter/./say/hello", b"/gr%65eter/say%2Fhello"):
            found = mapping.of_call(path, "ns")
            assert found is not None, path
            self.assertEqual((found.service, found.method), ("ns.greeter", "Say.Hello"), path)

    def test_an_empty_namespace_prefixes_nothing(self) -> None:
        """The service is then called as the path has it, dots and all."""
        found = mapping.of_call(b"/com.example.greeter/say/hello", "")
        self.assertEqual(found, PathTarget("com.example.greeter", "com.example.greeter", "Say.Hello"))

    def test_what_means_no_method(self) -> None:
        """One segment, none, control characters, what is no UTF-8, and what is endless."""
        for path in (b"/", b"/greeter", b"/greeter/", b"/a/%00", b"/a/%ff", b"*", b"/a/.." + b"/b", b"/a" * 600):
            self.assertIsNone(mapping.of_call(path, "ns"), path)


class AppTests(SynchronousTestCase):
    def test_the_first_segment(self) -> None:
        """It is the service, after a version or not; the rest of the path is the service's own affair."""
        for path, service in (
            (b"/greeter", "greeter"),
            (b"/greeter/", "greeter"),
            (b"/greeter/a/b?c", "greeter"),
            (b"/foo-bar2/x", "foo-bar2"),
            (b"/v1/greeter/a", "v1.greeter"),
            (b"/gr%65eter/x", "greeter"),
            (b"/v1x/a", "v1x"),
        ):
            self.assertEqual(mapping.of_app(path, "go.micro.web"), PathTarget(f"go.micro.web.{service}", service), path)

    def test_what_names_no_service(self) -> None:
        """Only letters, digits and single dashes between them do."""
        for path in (b"/", b"//a", b"/v1", b"/v1/", b"/-a/b", b"/a-/b", b"/a--b", b"/a.b/c", b"/a_b", b"/%00", b"*"):
            self.assertIsNone(mapping.of_app(path, ""), path)

    def test_an_empty_namespace_prefixes_nothing(self) -> None:
        """As for calls."""
        self.assertEqual(mapping.of_app(b"/greeter/x", ""), PathTarget("greeter", "greeter"))
