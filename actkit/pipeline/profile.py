"""Where a run's time went, from the timers that always run."""

from collections.abc import Mapping

from actkit.pipeline.recipe import Progress


def profile(progress: Progress) -> Mapping[str, Mapping[str, float | None]]:
    """Part → its `seconds`, and the run's tokens by them, `tokens_per_second` (None where a part took no time).

    * tokenize: records read and turned into token ids
    * forward: batches planned and run through the model
    * encode: SAEs' features computed, selected and pooled, their health counted
    * reduce: vectors turned into rows
    * order: a shard's rows put into the order of the input
    * write: tables written, which goes on beside the other parts
    * wait: nothing to do until a table is written; on CUDA also until the next shard is read or the batch before has
      become rows
    * finish: tables over the finished run

    All but `write` follow one another. On CUDA tokenize, encode and reduce, which wait there for the device, go on
    beside forward, which then only feeds it. A run that was continued has the seconds of its finished shards in all.
    """
    spent, within = progress.seconds, progress.within
    encode = within.get("encode", 0.0)
    parts = {
        "tokenize": spent.get("read", 0.0) + spent.get("tokenize", 0.0),
        "forward": spent.get("forward", 0.0),
        "encode": encode,
        "reduce": spent.get("reduce", 0.0) - encode,
        "order": spent.get("order", 0.0),
        "write": within.get("write", 0.0),
        "wait": sum(spent.get(f"wait_for_{what}", 0.0) for what in ("writer", "rows", "shard")),
        "finish": spent.get("finish", 0.0),
    }
    return {
        part: {
            "seconds": round(seconds, 3),
            "tokens_per_second": round(progress.tokens / seconds, 1) if seconds > 0 else None,
        }
        for part, seconds in parts.items()
    }
