"""`waypost release --kubernetes`: what it takes. What it does is tried on a cluster: tests/chart/test_uninstall.py."""

from __future__ import annotations

import pytest

from waypost.cli import main


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--kubernetes"], "--all or --finalizers"),
        (["--kubernetes", "--all", "--finalizers"], "one of them only"),
        (["--kubernetes", "--all"], "--yes"),
        (["--kubernetes", "--all", "--sink", "consul"], "neither names nor -f"),
        (["--kubernetes", "--finalizers", "shop/web"], "neither names nor -f"),
        (["--kubernetes", "--all", "-f", "manifests"], "neither names nor -f"),
        (["--finalizers"], "goes with --kubernetes"),
        (["--kubernetes", "--all", "--yes", "--kubeconfig", "/nowhere/at/all"], "/nowhere/at/all"),
    ],
)
def test_what_says_not_enough_or_too_much_is_refused(
    arguments: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["release", *arguments]) != 0
    assert told in capsys.readouterr().err
