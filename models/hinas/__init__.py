"""Parts of the HiNAS space: its config, cells, routes between widths, network, and what all of it costs."""
