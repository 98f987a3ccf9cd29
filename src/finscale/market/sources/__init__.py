"""Where bars come from. Every source returns valid bars (see :mod:`finscale.market.bars`)."""
