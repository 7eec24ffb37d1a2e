"""What is told of a kind that is not followed. No server."""

from __future__ import annotations

import logging
from typing import Any, cast

import pytest

from tests.kube.test_book import TYPES
from waypost.kit.kubernetes.errors import answered
from waypost.kube.feed import ResourceFeed
from waypost.testing.virtual import VirtualClock


def test_definitions_that_are_missing_are_told_once_and_what_to_do(caplog: pytest.LogCaptureFixture) -> None:
    feed = ResourceFeed(cast("Any", None), TYPES, "home", VirtualClock())
    missing = answered(404, b"404 page not found\n", "GET /apis/waypost.dev/v1alpha1/servicesinks")
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            feed.failing("ServiceSink", missing, 1.0)
    (told,) = caplog.messages
    assert "404 page not found: the API server knows no such kind; are Waypost's definitions installed" in told
    assert "definitions" in feed.failures["ServiceSink"]
