"""The section on sharing: whether and where a training uploads its best weights."""

from __future__ import annotations

import dataclasses

from tfseg.config.validation import check_fields, option
from tfseg.errors import UserError


@dataclasses.dataclass(frozen=True)
class HubConfig:
    """Whether, when and to which repository of the Hugging Face Hub a training uploads."""

    push_to_hub: bool = option(
        False,
        "upload the best weights to the Hugging Face Hub in the background; log in with "
        "`hf auth login` or set HF_TOKEN",
        resumable=True,
    )
    hub_model_id: str | None = option(
        None,
        "repository to upload to, as name or owner/name; it is created if it is missing",
        default_text="the name of --model_dir, under the account that is logged in",
        resumable=True,
    )
    hub_private: bool = option(
        False, "create the repository as a private one; a public one is refused", resumable=True
    )
    hub_strategy: str = option(
        "end",
        "when to upload. end: once, after the training; every_save: also whenever the best "
        "weights are saved",
        choices=("end", "every_save"),
        resumable=True,
    )

    def __post_init__(self):
        check_fields(self)
        others = {
            "hub_model_id": self.hub_model_id is not None,
            "hub_private": self.hub_private,
            "hub_strategy": self.hub_strategy != "end",
        }
        for name, is_set in others.items():
            if is_set and not self.push_to_hub:
                raise UserError(
                    f"--{name} has no effect without --push_to_hub; add --push_to_hub, "
                    "or upload after the training with python -m tfseg.push"
                )
