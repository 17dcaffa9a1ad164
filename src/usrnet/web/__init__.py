"""The local web page: ``actions`` is what it does, ``page`` how it looks, ``server`` how it is kept alive."""
