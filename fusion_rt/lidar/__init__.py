"""From the packets of a spinning LiDAR to sweeps: pure decoding, on values, without devices.

`turns` cuts a stream of packets into turns, `velodyne`, `hesai` and `ouster` decode a turn at once,
`sweep` makes the message of it. Where packets come from is the business of `fusion_rt.packets`.
"""
