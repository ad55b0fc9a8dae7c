"""`trans3dhead evaluate`: measures of labelled faces, of views without labels, and of clips."""
