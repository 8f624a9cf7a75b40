"""What tools/draw_pictures draws: a lake town, and a painted swirl."""
