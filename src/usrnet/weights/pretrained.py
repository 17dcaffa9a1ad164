"""The methods that users of the Hugging Face Hub know: ``from_pretrained``, ``save_pretrained``, ``push_to_hub``."""

import os
from typing import TYPE_CHECKING, Any, cast

from usrnet.errors import require

if TYPE_CHECKING:
    from usrnet.model import USRNet


class Pretrained:
    """For ``USRNet``; what they do is huggingface_hub's ``ModelHubMixin``, which is imported when one is called."""

    @classmethod
    def from_pretrained(cls, name: str | os.PathLike[str], **options: Any) -> "USRNet":
        """The model in a folder, or in the repository OWNER/NAME of the hub: float32, CPU, evaluation mode.

        ``options``: ``revision``, ``token``, ``cache_dir``, ``force_download``, ``local_files_only``. Raises
        ``UsrnetError``, one sentence, when it cannot be had.
        """
        require("huggingface_hub", extra="hub")
        from usrnet.weights import hub

        return hub.from_pretrained(name, **options)

    def save_pretrained(self, folder: str | os.PathLike[str], **card: Any) -> None:
        """Write ``model.safetensors``, ``config.json`` and a model card, unless one is there, into a folder.

        ``card``: ``name``, ``licence``, ``description``, ``training``, ``results``, and more for the card's head.
        """
        require("huggingface_hub", extra="hub")
        from usrnet.weights import hub

        hub.save_pretrained(cast("USRNet", self), folder, **card)

    def push_to_hub(self, name: str, *, card: dict[str, Any] | None = None, **options: Any) -> str:
        """Write the same to the repository OWNER/NAME of the hub; returns the address of the commit.

        ``options``: ``private``, ``token``, ``branch``, ``create_pr``, ``commit_message``.
        """
        require("huggingface_hub", extra="hub")
        from usrnet.weights import hub

        return hub.push_to_hub(cast("USRNet", self), name, card=card or {}, **options)
