"""The optimisers that are compared, their rates beside that of plain descent, and the settings they are tried in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from linsim.commands.config import OptimizerName

Method = Literal[
    "descent", "momentum", "adam", "adamw", "sign", "shampoo", "muon", "newton_schulz_muon", "natural_gradient"
]
Setting = Literal["aligned", "aligned_gaussian", "balanced", "gaussian"]
ShiftName = Literal["tail", "head", "all"]
Arm = Literal["pretrain", "finetune"]
ARMS: tuple[Arm, ...] = ("pretrain", "finetune")
"""Which phase an optimiser moves; the other one is plain descent."""


@dataclass(frozen=True)
class Trained:
    """How a method trains."""

    optimizer: OptimizerName = "sgd"
    rate: float = 1.0
    """Rate of pre-training over that of plain descent: so that all are done within the same steps."""
    tuning: float = 1.0
    """The same of the range in which a rate of fine-tuning is looked for."""
    momentum: float = 0.0
    decay: float = 0.0
    """Decoupled decay."""

    @property
    def fields(self) -> dict[str, Any]:
        """Of a phase's configuration."""
        return {"optimizer": self.optimizer, "momentum": self.momentum, "decoupled_decay": self.decay}


_NAMES = {
    **{"adam": "Adam", "adamw": "AdamW", "shampoo": "Shampoo"},
    **{"muon": "Muon", "newton_schulz_muon": "Newton-Schulz Muon"},
}

METHODS: dict[str, Trained] = {
    "descent": Trained(),
    "momentum": Trained(rate=0.1, tuning=0.1, momentum=0.9),
    "adam": Trained("adam", rate=0.1, tuning=3.0),
    "adamw": Trained("adamw", rate=0.1, tuning=3.0, decay=0.01),
    "sign": Trained("sign_sgd", rate=0.1, tuning=3.0),
    "shampoo": Trained("shampoo", rate=1.5, tuning=10.0),
    "muon": Trained("exact_muon", rate=0.1, tuning=3.0),
    "newton_schulz_muon": Trained("muon", rate=0.2, tuning=3.0),
    "natural_gradient": Trained("natural_gradient", rate=0.2, tuning=3.0),
}
SETTINGS: dict[str, dict[str, str]] = {
    "aligned": {"bases": "identity", "init": "identity"},
    "aligned_gaussian": {"bases": "identity", "init": "gaussian"},
    "balanced": {"bases": "random", "init": "balanced"},
    "gaussian": {"bases": "random", "init": "gaussian"},
}
"""Bases of the tasks, and initial weights; only where both are the identity's is nothing drawn."""


def spoken(method: str) -> str:
    """As sentences call an optimiser."""
    return _NAMES.get(method, method.replace("_", " "))
