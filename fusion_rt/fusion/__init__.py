"""Fusion, from the consumer's end of transport to the published answer.

`core` decides (pure), `lanes` encode, `runner` moves data between them; `options` is what a rig
file says of all this.
"""
