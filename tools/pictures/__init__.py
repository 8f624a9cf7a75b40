"""What tools/draw_pictures draws: a lake town, a painted swirl, a mosaic, a pen drawing, dabs of paint."""
