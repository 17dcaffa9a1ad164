"""Our models inside other people's tools: deepinv, spandrel, napari. None of them is needed by the rest."""
