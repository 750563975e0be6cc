"""Joint training: the centralised upper bound of what sharing can be worth. No federation would allow it.

    for every backbone a    L_a <- AdamW on CE(L_a), over the pooled streams of all clients of a
    inference               L_a, for every client of a; the same evaluated `trained` and `aggregated`

In a round L_a takes as many steps as its clients would take together, over the records that they would train on; only
their order differs: the batches of a step are dealt out anew, so that each holds records of several clients
(`drake.runs.pooling`). The first client of a backbone does the work, and no traffic is counted.
"""

from __future__ import annotations

from .sft import SFT


class Joint(SFT):
    """See the module's docstring."""

    reference = "centralised training of one LoRA per backbone (a reference, no federated method)"
    sends = "nothing"  # all records are in one place
    pooled = True
