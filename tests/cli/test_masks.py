"""Masks on the command line: every flag to its style, plans, dumps, recipes, batches, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from nst.cli.main import main as nst
from nst.cli.solve import main
from nst.io.images import read_picture
from nst.io.prototxt import parse_solver, read_net
from nst.io.recipe import read_recipe
from nst.proto import StyleTransferParameter


def solve(*words: object) -> int:
    return main([str(word) for word in words])


@pytest.fixture
def masks(workshop: Path) -> Path:
    """left.png, a grey mask of another size than town.png, and map.png, a label map in two colours."""
    left = np.zeros((72, 96), np.uint8)
    left[:, :48] = 255
    Image.fromarray(left).save("left.png")
    rgb = np.zeros((36, 48, 3), np.uint8)
    rgb[:, :24], rgb[:, 24:] = (255, 0, 0), (0, 0, 255)
    Image.fromarray(rgb).save("map.png")
    return workshop


def block_of(picture: str) -> StyleTransferParameter:
    return parse_solver(read_recipe(picture).options["solver"]).style_transfer_param


def test_a_masked_style_leaves_the_rest_of_the_picture_alone(
    masks: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = solve("solver.prototxt", "--style", "waves.png", "--mask", "left.png", "--size", 48)

    assert code == 0
    out, town = read_picture("out.png").rgb, read_picture("town.png").rgb
    np.testing.assert_array_equal(out[:, 25:], town[:, 25:])
    assert np.abs(out[:, :24] - town[:, :24]).mean() > 1
    said = capsys.readouterr().out
    assert "left, 50.0% of the picture: waves.png" in said
    assert "50.0% of the picture, as the content has it" in said
    recipe = read_recipe("out.png")
    assert recipe.files["mask left"].name == "left.png"
    assert block_of("out.png").style[0].mask == "left.png"


def test_the_flags_belong_to_the_style_before_them(masks: Path) -> None:
    code = solve(
        *("solver.prototxt", "--iterations", 1, "--keep-mask", "left.png"),
        *("--style", "waves.png:2", "--style-mask", "half.png"),
        *("--style", "town.png", "--mask", "map.png", "--region", "blue"),
    )

    assert code == 2  # half.png is not there: nothing was computed
    Image.new("L", (20, 30), 255).save("half.png")
    assert (
        solve(
            *("solver.prototxt", "--iterations", 1, "--content-mask", "left.png"),
            *("--style", "waves.png:2", "--style-mask", "half.png"),
            *("--style", "town.png", "--mask", "map.png", "--region", "blue"),
        )
        == 0
    )
    block = block_of("out.png")
    said = [(s.image, s.weight, s.mask, s.style_mask, s.region) for s in block.style]
    assert said == [
        ("waves.png", 2, "", "half.png", ""),
        ("town.png", 1, "map.png", "", "blue"),
    ]
    assert block.content.mask == "left.png"


def test_one_flag_pairs_all_labels_of_two_maps(
    masks: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rgb = np.zeros((30, 20, 3), np.uint8)
    rgb[:10], rgb[10:] = (0, 0, 255), (255, 0, 0)
    Image.fromarray(rgb).save("style_map.png")

    assert (
        solve(
            *("solver.prototxt", "--iterations", 1, "--style", "waves.png", "--mask", "map.png"),
            *("--style-mask", "style_map.png", "--region", "all"),
        )
        == 0
    )

    assert {style.region for style in block_of("out.png").style} == {"#ff0000", "#0000ff"}
    said = capsys.readouterr().out
    assert "ff0000, 50.0% of the picture" in said
    assert "0000ff, 50.0% of the picture" in said


def test_the_augmented_net_shows_the_masks(masks: Path) -> None:
    solve(
        *("solver.prototxt", "--style", "waves.png", "--mask", "left.png", "--size", 48),
        *("--iterations", 1, "--dump-net", "net.txt"),
    )

    layers = {layer.name: layer for layer in read_net(Path("net.txt")).layer}
    (name,) = [name for name in layers if name.startswith("gram_conv1_1")]
    assert name == "gram_conv1_1@left"
    assert list(layers[name].bottom) == ["conv1_1", "mask_conv1_1@left"]
    assert layers["mask_conv1_1@left"].type == "Input"
    assert layers["picture"].type == "Eltwise"
    assert list(layers["picture"].bottom) == ["painted_part", "kept_part"]


def test_the_drawn_net_has_a_colour_and_a_word_for_masks(masks: Path) -> None:
    text = Path("solver.prototxt").read_text()
    Path("masked.prototxt").write_text(
        text.replace('"town.png"', '"town.png" mask: "left.png"').replace(
            '"waves.png"', '"waves.png" mask: "left.png"'
        )
    )

    assert nst(["draw", "masked.prototxt", "net.dot", "--augmented"]) == 0

    dot = Path("net.dot").read_text()
    assert "mask_conv1_1@left" in dot
    assert "region of the picture" in dot


def test_a_plan_is_made_with_masks(masks: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ("solver.prototxt", "--style", "waves.png", "--mask", "left.png", "--size", 48)

    assert solve(*words, "--plan") == 0

    assert "memory" in capsys.readouterr().out
    assert not Path("out.png").exists()


def test_a_batch_takes_masks_from_flags_and_from_its_list(masks: Path) -> None:
    Path("list.csv").write_text(
        "content,style,mask,output\n"
        "town.png,waves.png|town.png,left.png|,a.png\n"
        "town.png,waves.png,,b.png\n"
    )

    assert solve("solver.prototxt", "--batch", "list.csv", "--iterations", 1) == 0

    assert [style.mask for style in block_of("a.png").style] == ["left.png", ""]
    assert not block_of("b.png").style[0].mask
    Path("list.csv").write_text("content,style,mask\ntown.png,waves.png|town.png,left.png\n")
    assert solve("solver.prototxt", "--batch", "list.csv") == 2


def test_a_library_holds_the_statistics_of_masked_styles(
    masks: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Image.new("L", (20, 30), 128).save("half.png")
    style = ("--style", "waves.png", "--mask", "left.png", "--style-mask", "half.png")
    words = ("--size", "24", *style)
    assert nst(["library", "add", "l.h5", "--solver", "solver.prototxt", *words]) == 0
    assert "1 entries added" in capsys.readouterr().out

    assert solve("solver.prototxt", *words, "--iterations", 1, "--library", "l.h5") == 0

    capsys.readouterr()
    assert nst(["library", "verify", "l.h5"]) == 0
    assert "1 entries, all whole" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--mask", "left.png"], "--mask: put it behind the --style that it is about"),
        (["--style", "waves.png", "--mask", "gone.png"], "gone.png: no such file"),
        (["--style", "waves.png", "--mask", "map.png"], "map.png: not a grey mask"),
        (
            ["--style", "waves.png", "--mask", "tall.png"],
            "tall.png does not fit its picture (got 20x30, expected the aspect of 48x36)",
        ),
        (
            ["--style", "waves.png", "--mask", "map.png", "--region", "green"],
            "no region 'green' (got the colours #",
        ),
        (["--style", "waves.png", "--region", "red"], "region: 'red' of no mask"),
        (["--style", "waves.png", "--region", "all"], "region: 'all' of no mask"),
        (
            ["--style", "waves.png", "--mask", "left.png", "--mask", "left.png"],
            "--mask: given twice for --style waves.png",
        ),
        (["--keep-mask", "white.png"], "keep_mask: all of the picture is kept"),
        (["--keep-mask", "black.png"], "black.png is black all over"),
        (
            ["--style", "waves.png", "--mask", "left.png", "--gram-normalize", "none"],
            "gram_normalize: NONE sums over places",
        ),
        (["--output", "left.png", "--keep-mask", "left.png"], "one of the pictures that go in"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(
    words: list[str], message: str, masks: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Image.new("L", (8, 6), 255).save("white.png")
    Image.new("L", (8, 6), 0).save("black.png")
    Image.new("L", (20, 30), 255).save("tall.png")

    assert solve("solver.prototxt", *words) == 2

    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
