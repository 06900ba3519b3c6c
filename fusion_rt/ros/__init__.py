"""Bags of ROS 1 and ROS 2 without ROS: their storage, their messages, and what we make of them."""
