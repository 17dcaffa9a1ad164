"""deepinv and spandrel want torchvision, which the package index has for CUDA only.

Beside a torch for CPUs the wheel's compiled part cannot be loaded, and the import stops where its operators (``nms``,
``roi_align``, …) are looked up. Only their names are declared here; torchvision's Python, deepinv and spandrel are
real, and nothing that is tested calls one of those operators.
"""

from importlib.util import find_spec

import torch

OPERATORS = (
    "nms", "qnms", "qroi_align", "roi_align", "_roi_align_backward", "roi_pool", "_roi_pool_backward", "ps_roi_align",
    "_ps_roi_align_backward", "ps_roi_pool", "_ps_roi_pool_backward", "deform_conv2d", "_deform_conv2d_backward",
)  # fmt: skip


def declare_operators() -> None:
    if find_spec("torchvision") is None or hasattr(torch.ops.torchvision, "nms"):
        return
    try:
        import torchvision  # noqa: F401
    except RuntimeError:
        library = torch.library.Library("torchvision", "FRAGMENT")
        for name in OPERATORS:
            library.define(f"{name}(Tensor x) -> Tensor")
        declare_operators.library = library  # type: ignore[attr-defined]  # or they would go with it


declare_operators()
