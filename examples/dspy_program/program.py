"""A DSPy program as anybody writes one: it knows nothing of Burnish."""
# mypy: disable-error-code="import-not-found, misc"

from __future__ import annotations

from typing import Literal

import dspy

INTENTS = Literal[
    "cancel_contract", "charged_twice", "complaint_followup", "conn_drops", "device_return",
    "move_house", "no_service", "other", "pause_contract", "plan_change", "price_rise",
    "refund_missing", "router_setup", "sim_inactive", "svc_slow",
]  # fmt: skip


class NameIntent(dspy.Signature):
    """You classify customer messages. Choose the one intent that fits the message best."""

    message: str = dspy.InputField()
    intent: INTENTS = dspy.OutputField()


classify = dspy.Predict(NameIntent)
