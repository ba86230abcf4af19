"""Use: how to make the model that ships, and how to ask it."""

import shlex
from pathlib import Path

from headstart.errors import HeadstartError
from headstart.evidence.evidence import YOURS, Evidence
from headstart.evidence.page import figures
from headstart.evidence.page.decision import arm_of
from headstart.io import read_json

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
    if _arm_in(folder, evidence) == found.shipped:
        return _asked(evidence, folder)
    # The fit that is kept there is of another arm; what ships goes beside it.
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
    arm, uri = evidence.verdict.shipped, str(evidence.source.get("uri") or "SOURCE")
    source = shlex.quote(f"scratch:{uri}" if arm in RANDOM else uri) + OPTIONS[arm]
    plan = evidence.transfer_plan
    moves = "few" if plan.get("is_few") else str(plan.get("finetune", "no"))
    if arm in TUNED and not moves.startswith("no"):  # the arm kept what came of it
        source += f" --finetune {shlex.quote(f'only:{moves}')}"
    rows = "ALSO" if arm == "zero-shot" else "DATA"
    code = f"headstart fit {rows} --source {source} --out {shlex.quote(folder)}"
    return {"name": f"Make it, from {ROWS.get(arm, 'the rows of this study')}", "code": code}


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


def _arm_in(folder: str, evidence: Evidence) -> str:
    """Return the arm of the study that the model in a folder is; empty where it is none."""
    try:
        kept = str(read_json(Path(folder) / "model" / "bundle.json")["facts"]["arm"])
    except (OSError, KeyError, TypeError, ValueError, HeadstartError):
        return ""
    # A fit that was given rows beside learned from both.
    both = {"probe": "beside", "finetuned": "beside-finetuned"}
    is_beside = any(arm.name == "beside" for arm in evidence.arms)
    return both.get(kept, kept) if is_beside else kept


def _has_model(folder: str) -> bool:
    return "\0" not in folder and len(folder) < 1000 and (Path(folder) / "model").is_dir()
