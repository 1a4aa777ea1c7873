"""Lets a check that fails in what the tests share tell its values."""

import pytest

pytest.register_assert_rewrite("tests.clients.world")
