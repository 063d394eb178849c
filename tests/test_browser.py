"""The browser that the tests of pages use: what it records, and what happens where there is none."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.browser import PHONE, Visitor, find_browser

ROOT = Path(__file__).resolve().parent.parent


@pytest.mark.browser
def test_a_visit_records_errors_and_requests(visit: Visitor, tmp_path: Path):
    page = tmp_path / "page.html"
    page.write_text("<title>one</title><script>console.error('oh'); throw Error('no')</script><img src=none.png>")
    found = visit(page)
    assert found.page.title() == "one"
    assert "oh" in found.errors
    assert any("no" in error for error in found.errors)
    assert any("none.png" in error for error in found.errors)
    assert [Path(url).name for url in found.requests] == ["page.html", "none.png"]
    assert found.outside() == []
    assert found.outside("https://") == found.requests
    with pytest.raises(AssertionError):
        found.assert_quiet()


@pytest.mark.browser
def test_a_visit_has_the_size_and_the_colours_asked_for(visit: Visitor, tmp_path: Path):
    page = tmp_path / "page.html"
    page.write_text("<meta name=viewport content='width=device-width'>")
    found = visit(page, PHONE, dark=True)
    assert found.page.evaluate("innerWidth") == 390
    assert found.page.evaluate("matchMedia('(prefers-color-scheme: dark)').matches")
    found.assert_quiet()


def test_a_browser_that_does_not_start_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    fake = tmp_path / "chromium"
    fake.write_text("#!/bin/sh\necho needs the snap\nexit 1\n")
    fake.chmod(0o755)
    monkeypatch.setenv("LOOPSIM_CHROMIUM", str(fake))
    assert find_browser() is None
    fake.write_text("#!/bin/sh\necho Chromium 1\n")
    assert find_browser() == str(fake)


@pytest.mark.parametrize(("ci", "outcome"), [("", "1 skipped"), ("true", "1 error")])
def test_without_a_browser_its_tests_are_skipped_with_a_word_and_fail_in_ci(ci: str, outcome: str):
    env = os.environ | {"LOOPSIM_CHROMIUM": "/nowhere/chromium", "CI": ci}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"{__file__}::{_NEEDS_ONE}"],
        cwd=ROOT, env=env, capture_output=True, text=True,
    )  # fmt: skip
    assert outcome in done.stdout
    assert "no Chromium on this system" in done.stdout


_NEEDS_ONE = test_a_visit_has_the_size_and_the_colours_asked_for.__name__


@pytest.mark.skipif(sys.platform != "linux", reason="the stand-ins are of Linux")
@pytest.mark.parametrize("found", ["chromium", "chromium-browser", "none"])
def test_the_script_installs_a_browser_or_says_so_in_one_line(tmp_path: Path, found: str):
    """A path with stand-ins for apt-get and sudo, and no browser."""
    for name in ("bash", "env", "id", "uname"):
        (tmp_path / name).symlink_to(f"/usr/bin/{name}")
    (tmp_path / "sudo").write_text('#!/usr/bin/bash\n[ "$1" = -n ] && shift && exec "$@"\n')
    (tmp_path / "apt-get").write_text(
        '#!/usr/bin/bash\necho "$@" >>"$LOG"\n[[ " $* " = *" install "* ]] || exit 0\n'
        f'[ "${{!#}}" = {found} ] || exit 100\n'
        'printf "#!/usr/bin/bash\\n" >"$PLACE/${!#}"; /usr/bin/chmod +x "$PLACE/${!#}"\n'
    )
    for name in ("sudo", "apt-get"):
        (tmp_path / name).chmod(0o755)
    env = {"PATH": str(tmp_path), "PLACE": str(tmp_path), "LOG": str(tmp_path / "log")}
    command = ["bash", "-euo", "pipefail", "-c", f"source {ROOT / 'scripts' / '_browser'}; echo went on"]
    done = subprocess.run(command, env=env, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    assert done.returncode == 0, done.stderr
    *said, last = done.stdout.splitlines()
    assert last == "went on"
    assert said[0].startswith("installing Chromium")
    assert any("browser tests are left out" in line for line in said) == (found == "none")
    asked = (tmp_path / "log").read_text().splitlines()
    assert asked[0].endswith(" chromium")
    assert len(asked) == (1 if found == "chromium" else 4)  # again after `update`
    again = subprocess.run(command, env=env, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    if found != "none":
        assert again.stdout == "went on\n"
        assert (tmp_path / "log").read_text().splitlines() == asked
