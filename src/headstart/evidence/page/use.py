"""Use: how to make the model that ships, and how to ask it."""

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from headstart.errors import HeadstartError
from headstart.evidence.evidence import YOURS, Evidence
from headstart.evidence.page import figures
from headstart.evidence.page.decision import arm_of
from headstart.io import read_json
from headstart.steps.phase import FEW_TEXTS, Phase, default_phase
from headstart.task import Kind, Modality

#: What `headstart fit` needs to make an arm of a study; ALSO stands for the rows beside.
OPTIONS = {
    "probe": " --finetune no",
    "finetuned": "",
    "scratch": "",
    "random-probe": " --finetune head",
    "beside": " --also ALSO --finetune no",
    "beside-finetuned": " --also ALSO",
    "zero-shot": " --finetune no",
}
#: What an arm is made from.
ROWS = {
    "beside": "the rows of this study and those beside (ALSO)",
    "beside-finetuned": "the rows of this study and those beside (ALSO)",
    "zero-shot": "the rows beside (ALSO) alone; none of this study taught it",
}
RANDOM = ("scratch", "random-probe")
TUNED = ("finetuned", "beside-finetuned")
#: What `headstart fit` is told of how an arm learned by steps, by the fields of a phase.
LEARNED = {
    "epochs": "--epochs", "rate": "--rate", "optimizer": "--optimizer", "cache_gb": "--cache-max",
}  # fmt: skip


def use(evidence: Evidence, run: str) -> list[dict[str, str]]:
    """Return how to make what ships where it is not there, and how to use it.

    Parameters
    ----------
    run
        The run's folder; empty where nothing was saved.
    """
    found, folder = evidence.verdict, run or "runs/NAME"
    if found.shipped not in OPTIONS:
        return [_elsewhere(evidence)]
    if not _has_model(folder):
        return [_made(evidence, folder), *_asked(evidence, folder)]
    if _is_what_ships(folder, evidence):
        return _asked(evidence, folder)
    # The fit that is kept there is another; what ships goes beside it.
    beside = f"{folder.rstrip('/')}-{found.shipped}"
    return [_made(evidence, beside), *_asked(evidence, beside)]


def _asked(evidence: Evidence, folder: str) -> list[dict[str, str]]:
    word = figures.row_word(evidence)
    new = {"picture": "new/*.jpg"}.get(word, "new.csv")
    one = {"picture": '"new.jpg"', "text": '"a new text"'}.get(word, "row")
    return [
        {"name": "In a shell", "code": f"headstart predict {shlex.quote(folder)} {new}"},
        {
            "name": "In Python",
            "code": "import headstart as hs\n\n"
            f"model = hs.load({folder!r})\n"
            f"model.predict([{one}])\n"
            f"model.predict_proba([{one}])",
        },
    ]


def _made(evidence: Evidence, folder: str) -> dict[str, str]:
    arm = evidence.verdict.shipped
    rows = "ALSO" if arm == "zero-shot" else "DATA"
    asked = _options(evidence, arm, _plan(evidence, arm))
    code = f"headstart fit {rows} {asked} --out {shlex.quote(folder)}"
    return {"name": f"Make it, from {ROWS.get(arm, 'the rows of this study')}", "code": code}


def _plan(evidence: Evidence, arm: str) -> dict[str, Any]:
    """Return the plan of an arm's fit; nothing where none was kept."""
    if arm == evidence.verdict.transfer:
        return evidence.transfer_plan
    plans = [one.facts.get("plan") for one in evidence.outcomes if one.arm == arm and one.is_whole]
    return next(filter(None, plans), {})


def _options(evidence: Evidence, arm: str, plan: Mapping[str, Any]) -> str:
    """Return what `headstart fit` is told, beside its rows, to make an arm as it was planned."""
    uri = str(evidence.source.get("uri") or "SOURCE")
    source = str(plan.get("source") or (f"scratch:{uri}" if arm in RANDOM else uri))
    asked = f"--source {shlex.quote(source)}{OPTIONS[arm]}"
    if (head := plan.get("head", "linear")) != "linear":
        asked += f" --head {shlex.quote(str(head))}"
    moves = "few" if plan.get("is_few") else str(plan.get("finetune", "no"))
    if arm in TUNED and not moves.startswith("no"):  # the arm kept what came of it
        asked += f" --finetune {shlex.quote(f'only:{moves}')}"
    if arm in (*TUNED, "scratch"):
        usual = FEW_TEXTS if moves == "few" else default_phase(source, _modality(evidence))
        asked += _learned(plan.get("phase") or {}, usual)
    return asked


def _learned(phase: Mapping[str, Any], usual: Phase) -> str:
    """Return what makes a phase of the usual one, as far as there are options for that."""
    given = {name: value for name, value in phase.items() if name in LEARNED}
    return "".join(
        f" {LEARNED[name]} {shlex.quote(str(value))}"
        for name, value in given.items()
        if value != getattr(usual, name)
    )


def _modality(evidence: Evidence) -> Modality:
    """Return what the rows are; sentences of words are read by a source of texts."""
    if evidence.task.kind is Kind.TAGS:
        return Modality.WORDS
    return Modality.IMAGE if figures.row_word(evidence) == "picture" else Modality.TEXT


def _elsewhere(evidence: Evidence) -> dict[str, str]:
    arm = arm_of(evidence, evidence.verdict.shipped)
    if arm.about == YOURS:
        code = f"# {arm.name}: fit the estimator that was given to prove(…, arms=…)"
        return {"name": "What ships is an arm of yours", "code": code}
    about = f", {arm.about}" if arm.about else ""
    return {
        "name": "What ships is no network",
        "code": f"# {arm.name}{about}: made with scikit-learn, outside of Headstart",
    }


def _is_what_ships(folder: str, evidence: Evidence) -> bool:
    """Say whether the model in a folder is the arm that ships, made as the study made it."""
    shipped = evidence.verdict.shipped
    # A fit that was given rows beside learned from both.
    both = {"probe": "beside", "finetuned": "beside-finetuned"}
    is_beside = any(arm.name == "beside" for arm in evidence.arms)
    try:
        facts = read_json(Path(folder) / "model" / "bundle.json")["facts"]
        kept = str(facts["arm"])
        made = _options(evidence, shipped, facts["plan"])
    except (OSError, AttributeError, KeyError, TypeError, ValueError, HeadstartError):
        return False
    is_arm = (both.get(kept, kept) if is_beside else kept) == shipped
    return is_arm and made == _options(evidence, shipped, _plan(evidence, shipped))


def _has_model(folder: str) -> bool:
    return "\0" not in folder and len(folder) < 1000 and (Path(folder) / "model").is_dir()
