"""What the report says of a cheap model that stood in for a dear one."""

from __future__ import annotations

from collections.abc import Mapping

from burnish.api.job.v1 import job_event_pb2, job_service_pb2
from burnish.plain import from_plain


def proxy_section(job: Mapping[str, object]) -> str:
    """Returns the section of a job's report; empty without a cheap model.

    Args:
        job: The job as plain values.
    """
    message = from_plain(job, job_service_pb2.Job())
    if not message.HasField("proxy"):
        return ""
    proxy, spec = message.proxy, message.spec.proxy
    low = f"`{spec.low_model.provider}/{spec.low_model.model}`"
    high = f"`{spec.high_model.provider}/{spec.high_model.model}`"
    lines = ["## Cheap model", "", f"{low} for {high}: {_state(proxy)}"]
    lines.append(
        f"{proxy.pair_count} trials ran on both, {proxy.predicted_trial_count} on the cheap one"
        f" alone{_fit(proxy)}"
    )
    gain = "unknown, as a price is" if not proxy.HasField("net_gain_usd") else ""
    lines.append(f"Net gain: {gain or f'{proxy.net_gain_usd:+.4f} US dollars'}.")
    lines.append(
        "Predicted rewards led the search; the choice and the verdict rest on measured ones alone."
    )
    return "\n".join(lines)


def _state(proxy: job_event_pb2.ProxySummary) -> str:
    if proxy.state == job_event_pb2.PROXY_STATE_ON:
        return "it stood in to the end."
    if proxy.state == job_event_pb2.PROXY_STATE_STOPPED:
        return f"given up: {proxy.reason}."
    return "it was never known well enough to stand in."


def _fit(proxy: job_event_pb2.ProxySummary) -> str:
    if not proxy.HasField("r2"):
        return "."
    return (
        f"; it explains {proxy.r2:.2f} of the variance, and leaves {proxy.residual_variance:.2g}"
        " unexplained."
    )
