"""What a blend would hold: its parts with their rows, examples and shares. Nothing is mined, drawn or written."""

from __future__ import annotations

from rankrag.blend.prepare import Report, prepare_blend
from rankrag.blend.weights import blend_slots
from rankrag.config.blend import BlendConfig
from rankrag.data.progress import Progress, quiet


def plan_lines(config: BlendConfig, report: Report = lambda _: None, progress: Progress = quiet) -> list[str]:
    """Return the lines of a table: each part, their sum, and why a part is absent, which keeps its share.

    A part without a weight or count takes all that its source gives. No licence is refused. `ConfigError` lists all
    mistakes of the configuration and the available data.
    """
    optional = {
        name: tuple(one.model_copy(update={"optional": True}) for one in getattr(config, name))
        for name in ("sources", "evaluation")
    }
    prepared = prepare_blend(config.model_copy(update={**optional, "research": True}), report, progress=progress)
    slots = blend_slots(config)
    total = sum(slot.examples or 0 for slot in slots)
    lines = [f"{'part':32} {'rows':>8} {'examples':>9} {'share':>7}"]
    for slot in slots:
        examples, share = ("all", "") if slot.examples is None else (slot.examples, f"{slot.examples / total:.1%}")
        lines.append(f"{slot.key:32} {prepared.rows.get(slot.source, 'absent'):>8} {examples:>9} {share:>7}")
    lines.append(f"{'sum':32} {'':8} {total or 'all':>9}")
    return lines + [f"{name}: {why}" for name, why in prepared.left_out.items()]
