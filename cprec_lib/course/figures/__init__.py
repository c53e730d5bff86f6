"""The figures of the course: `figures.show` displays what the other functions here draw.

Each draws from plain arguments and returns a figure.
"""

import lazy_loader

# Loaded on first use, because matplotlib and seaborn are slow to import.
__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        module: names.split()
        for module, names in {
            "comparison": "bootstrap estimates grouped_bars learning_curves protocols "
            "tie_orders trade_off",
            "convolution": "impulse_responses influence reach sharing_panels signal_by_depth "
            "wiring",
            "cost": "compression_bars growth middle_share network parameter_bars sandwich",
            "decomposition": "block_areas boxes by_block decomposed_table item_plane "
            "probability_tree",
            "popularity": "id_grid lorenz_curves rank_frequency share_bars tails "
            "window_and_prefixes",
            "serving": "latencies",
            "style": "show",
            "verdicts": "forest seeds",
        }.items()
    },
)
