"""The thin ROS 2 layer: messages in, calls of the library, messages out."""
