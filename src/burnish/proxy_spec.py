"""From a settled configuration to the `ProxySpec` of a job."""

from __future__ import annotations

from burnish.api.job.v1 import job_spec_pb2
from burnish.api.types.v1 import model_pb2
from burnish.config import ProxyModelsConfig
from burnish.config.resolved import ResolvedJob


def proxy_spec(job: ResolvedJob) -> job_spec_pb2.ProxySpec | None:
    """Returns which model stands in for which; None where none does.

    Only a search that has its finalists measured in the end takes predictions: the `tpe` engine by
    our own protocol, `random`, and plug-ins.
    """
    mipro = job.mipro
    if job.proxy_models is None or job.online is not None or mipro is None:
        return None
    if mipro.engine != "tpe" or mipro.protocol != "burnish":
        return None
    table = ProxyModelsConfig.model_validate(job.proxy_models)
    return job_spec_pb2.ProxySpec(
        high_model=model_pb2.ModelSpec(provider=table.hi_provider.value, model=table.hi_model),
        low_model=model_pb2.ModelSpec(provider=table.lo_provider.value, model=table.lo_model),
        min_pair_count=table.n_min_hi,
        min_r2=table.r2_thresh,
        stop_r2=table.r2_stop,
        max_variance=table.sigma_max,
        stop_variance=table.sigma_stop,
        verify_every=table.verify_every,
        min_net_gain_usd=table.proxy_patience_usd,
    )
