"""Networks that can do more than the published one, started from one that cannot."""

from dataclasses import replace

import torch

from usrnet.model.usrnet import USRNet


def widened(model: USRNet, *, carry: bool = False, shared: bool = True) -> USRNet:
    """The same function, in a network that can learn what ``model`` cannot.

    Parameters
    ----------
    model : USRNet
        Not changed.
    carry : bool
        Whether features shall go from one iteration to the next; through weights of zero, where ``model`` has none.
    shared : bool
        Whether all iterations may go on with the same weights; else each has a copy of its own.

    Returns
    -------
    USRNet
        A new one, on the device and of the type of ``model``. What ``model`` has already stays.

    Examples
    --------
    >>> import usrnet
    >>> from usrnet.model.widening import widened
    >>> wide = widened(usrnet.USRNet(), carry=True, shared=False)
    >>> sorted(wide.state_dict())[-1], wide.config.carry, wide.config.shared
    ('p.5.m_up3.2.res.2.weight', True, False)
    """
    config = replace(model.config, carry=model.config.carry or carry, shared=model.config.shared and shared)
    with torch.random.fork_rng(devices=[]):  # the random start is overwritten
        made = USRNet(config).to(next(model.parameters()))
    known = model.state_dict()
    for name, tensor in made.state_dict().items():
        part, _, rest = name.partition(".")
        if name not in known and part == "p" and model.config.shared and not config.shared:
            name = f"p.{rest.partition('.')[2]}"  # p.3.m_head.weight is a copy of p.m_head.weight
        tensor.copy_(known[name]) if name in known else tensor.zero_()
    return made.train(model.training)
