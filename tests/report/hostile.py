"""A run whose texts, labels, groups, sources, SAE name, warnings and directory name try to be markup."""

import json
import shutil
from pathlib import Path

import pytest

from actkit.cli.app import main

ATTACKS = (
    "</script><script>window.hacked=1;alert(1)</script>",
    '<img src=x onerror="window.hacked=1;alert(1)">',
    '<meta http-equiv="refresh" content="0;url=https://attacker.invalid/">',
    "<!--<script>",
    "-->",
    "]]>",
    "</title></style></textarea>",
    '" onmouseover="window.hacked=1" x="',
    '<a href="javascript:window.hacked=1">click</a>',
    "<iframe src=https://attacker.invalid/></iframe><base href=https://attacker.invalid/>",
    "{{ 7 * 7 }}{% raw %}<!--blocks-->",
    "\u202eoverride\u202c \u2066isolate\u2069",
    "line\u2028para\u2029end",
    "zero\u200bwidth \ufeff",
    "\u0000nul \u001b[31m",
    "%{x} %{customdata[0]}<extra>x</extra>",
)
NAME = "run <img src=x onerror=alert(1)>"
SAE = "sae <img src=x onerror=alert(1)>"


def hostile_run(folder: Path) -> Path:
    """A finished run of `sae-extract` over such texts."""
    whole = " ".join(ATTACKS)
    rows = [
        {
            "prompt": f"{attack} {whole}"[:260],
            "response": f" {attack} king {attack}",
            "question_id": attack,
            "template_type": attack,
        }
        for attack in ATTACKS
    ]
    source = folder / "in <img src=x onerror=alert(1)>.jsonl"
    source.write_text("\n".join(json.dumps(row) for row in rows), encoding="utf-8")
    made = folder / NAME
    with pytest.raises(SystemExit) as ended:
        main(["sae-extract", str(source), "--target-layer", "2", "--save-all-tokens", "-o", str(folder / "run"), "-q"])
    assert ended.value.code in (0, None)
    shutil.move(folder / "run", made)
    facts = json.loads((made / "run.json").read_text(encoding="utf-8"))
    facts["warnings"] = list(ATTACKS)
    facts["model"]["name"] = ATTACKS[1]
    facts["detected"]["input_format"] = ATTACKS[0]
    facts["rejected_reasons"] = dict.fromkeys(ATTACKS, 1)
    (made / "run.json").write_text(json.dumps(facts), encoding="utf-8")
    return made
