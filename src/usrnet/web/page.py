"""How the page looks, and which control does what."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np

from usrnet import io
from usrnet.degradation import degrade
from usrnet.errors import UsrnetError
from usrnet.kernels.files import SUFFIXES
from usrnet.web import actions, limits
from usrnet.web.actions import BLURS, FILE, GAUSSIAN, SHAKE, Settings
from usrnet.web.guard import Blocks, told
from usrnet.web.jobs import Jobs, Stopped
from usrnet.weights.registry import packaged_file

TITLE = "usrnet: sharper, larger, cleaner"

STYLE = """
.gradio-container { max-width: 1280px !important; margin: auto !important; }
#head h1 { font-size: 1.6rem; margin: 0; } #head p { color: var(--body-text-color-subdued); margin: .1rem 0 0; }
#kernel { min-width: 120px !important; } #kernel img { image-rendering: pixelated; }
#overview img { cursor: crosshair; } #preview img { image-rendering: pixelated; }
footer { opacity: .6; }
@media (max-width: 640px) {
  .gradio-container .main { padding: .5rem !important; }
  .gradio-container .row { flex-wrap: wrap; }
  .gradio-container .row > * { flex: 1 1 100%; min-width: 0 !important; max-width: 100%; }
  #x, #y, #run, #cancel, #download { flex-basis: 30% !important; }
}
"""
# Browsers cannot show TIFF: no broken picture then, the overview has it.
SCRIPT = """
for (const [event, shown] of [["error", "hidden"], ["load", ""]])
  addEventListener(event, (e) => { if (e.target.matches?.("#upload img")) e.target.style.visibility = shown; }, true);
"""
HEAD = f"<style>{STYLE}</style><script>{SCRIPT}</script>"  # css= would lose the rules for small screens
WIDTH_INFO = "How blurred it is (width of the blur in pixels of the result)"


def make_examples(folder: Path) -> list[list[Any]]:
    """The bundled photo, spoiled in three ways, each with the controls that undo it."""
    with as_file(files("usrnet") / "data" / "astronaut.png") as path:
        photo = io.read(path).pixels
    chosen = [
        ("shaken", Settings(scale=2, blur=SHAKE, seed=3, noise_level=3)),
        ("soft", Settings(scale=2, width=2.2, noise_level=2)),
        ("noisy", Settings(scale=1, width=0.8, noise_level=15)),
    ]
    examples = []
    for name, settings in chosen:
        small = degrade(photo, settings.kernel(), scale=settings.scale, noise_level=settings.noise_level)
        margin = 12 * (2 // settings.scale)  # there the blur of `degrade` wraps around
        path = folder / f"{name}.png"
        io.write(path, io.Picture(small[margin:-margin, margin:-margin]))
        examples.append(
            [str(path), settings.scale, settings.width, settings.noise_level, settings.blur, settings.seed]
        )
    return examples


def build(folder: Path, models: list[str]) -> Blocks:
    """The page. ``folder``: where results go; ``models``: names and files to choose from."""
    jobs = Jobs()
    start = Settings()
    offered = names_of(models)
    has_crisp = "default" in models and packaged_file(actions.CRISP) is not None
    shown_to_people = told(folder)

    def settings_of(*controls: Any) -> Settings:
        scale, width, noise_level, blur, ratio, degrees, seed, kernel_file, model, number, *rest = controls
        crisp = float(rest[0] or 0) if rest and offered.get(model) == "default" else 0.0
        if model not in offered:
            raise UsrnetError(f"model {model!r} is not offered here: choose one of {', '.join(offered)}")
        chosen = int(number) if number else None
        return Settings(int(scale), float(width), float(noise_level), blur, float(ratio), float(degrees),
                        int(seed or 0), kernel_file, offered[model], chosen, crisp)  # fmt: skip

    # Gradio names the arguments of the HTTP interface after those of these functions, so all are written out.

    @shown_to_people
    def describe(
        picture: str | None, scale, width, noise_level, blur, ratio, degrees, seed, kernel_file, model,
        kernel_number=0, crisp=0.0,
    ):  # fmt: skip
        """The kernel as a picture, and the command line that does the same."""
        settings = settings_of(
            scale, width, noise_level, blur, ratio, degrees, seed, kernel_file, model, kernel_number, crisp
        )
        return actions.draw_kernel(settings), settings.command(Path(picture).name if picture else "PICTURE")

    def describe_here(*controls: Any) -> tuple[np.ndarray, str]:
        """The same for the page: what is wrong stands in place of the command, so that no older one is copied."""
        try:
            return describe(*controls)
        except gr.Error as error:
            return np.zeros((160, 160), np.uint8), f"# {error.message}"

    @shown_to_people
    def preview(
        picture: str | None, x, y, scale, width, noise_level, blur, ratio, degrees, seed, kernel_file, model,
        kernel_number=0, crisp=0.0,
    ):  # fmt: skip
        """The picture with the frame at x, y (in %), and the framed part before and after."""
        settings = settings_of(
            scale, width, noise_level, blur, ratio, degrees, seed, kernel_file, model, kernel_number, crisp
        )
        no_kernel = settings.blur == FILE and not settings.kernel_file
        if not no_kernel:
            settings.taps()  # what is wrong with them is said without a picture, too
        if not picture:
            return None, None
        framed = actions.overview(picture, x, y)
        if no_kernel:
            return framed, None
        with jobs.turn():
            return framed, actions.preview(picture, settings, x, y)

    def preview_here(refused: tuple[Any, ...] | None, *inputs: Any) -> tuple[Any, Any, tuple[Any, ...] | None]:
        """The same for the page, where one upload changes several controls: what is wrong with them is said once.

        ``refused``: what was said last, and of which picture and controls.
        """
        try:
            framed, both = preview(*inputs)
            return framed, both, None
        except gr.Error as error:
            picture, _x, _y, *controls = inputs
            now = (error.message, picture, *controls)
            if now != refused:
                gr.Warning(error.message, title=error.title)
            return None, None, now

    @shown_to_people
    def find(
        picture: str | None, scale, width, noise_level, blur, ratio, degrees, seed, kernel_file, model,
        request: gr.Request, kernel_number=0,
    ):  # fmt: skip
        """Blur and noise of the picture: kind, width, ratio of the widths, angle, noise level, what to say, and
        the file of a kernel without a formula and which one of it (0: there is one)."""
        if not picture:
            raise UsrnetError("choose a picture first")
        settings = settings_of(
            scale, width, noise_level, blur, ratio, degrees, seed, kernel_file, model, kernel_number
        )
        try:
            with jobs.turn(request.session_hash) as stop:
                found = actions.find(picture, settings, folder, stop=stop)
        except Stopped:
            gr.Info("Stopped.")
            return tuple(gr.skip() for _ in range(8))
        now = found.settings
        file, number = now.kernel_file, now.kernel_number or 0
        return now.blur, now.width, now.ratio, now.degrees, now.noise_level, found.text, file, number

    def used(blur: str) -> tuple[Any, ...]:
        """Which of width, ratio, degrees and seed this kind of blur has."""
        gaussian, shake = blur == GAUSSIAN, blur == SHAKE
        info = WIDTH_INFO if gaussian else f"Not used: the blur is “{blur}”, see Advanced"
        return (
            gr.update(interactive=gaussian, info=info), gr.update(interactive=gaussian),
            gr.update(interactive=gaussian), gr.update(interactive=shake),
        )  # fmt: skip

    def move(path: str | None, event: gr.SelectData) -> tuple[float, float]:
        """The clicked place as percentages."""
        width, height = actions.overview_size(path) if path else (1, 1)
        return round(100 * event.index[0] / width, 1), round(100 * event.index[1] / height, 1)

    @shown_to_people
    def restore_all(
        picture: str | None, scale, width, noise_level, blur, ratio, degrees, seed, kernel_file, model,
        request: gr.Request, kernel_number=0, crisp=0.0, progress=gr.Progress(),  # noqa: B008
    ):  # fmt: skip
        """The whole picture: before and after for the screen, and the file in the depth of the input."""
        if not picture:
            raise UsrnetError("choose a picture first")
        settings = settings_of(
            scale, width, noise_level, blur, ratio, degrees, seed, kernel_file, model, kernel_number, crisp
        )

        def waiting(before: int) -> None:
            actions.mark_as_used(Path(picture))
            progress(0, desc=f"waiting, {before} before you")

        try:
            with jobs.turn(request.session_hash, waiting=waiting) as stop, folder_for_result(folder) as target:
                before, after, result = actions.restore_all(
                    picture, settings, target, stop=stop,
                    progress=lambda done, total: progress((done, total), desc="restoring", unit="steps"),
                )  # fmt: skip
        except Stopped:
            gr.Info("Stopped.")
            return gr.skip(), gr.skip()
        return (before, after), str(result)

    def cancel_all(request: gr.Request) -> None:
        """Stop what this session has waiting or running: the button was pressed or the page was closed."""
        jobs.stop(request.session_hash)

    with Blocks(title=TITLE, analytics_enabled=False, cancelled=jobs.stop) as page:
        gr.Markdown(
            "# usrnet\nDrop a photo that is soft, shaken, noisy or too small, and move the sliders. "
            "Nothing leaves this machine.", elem_id="head",
        )  # fmt: skip
        with gr.Row():
            with gr.Column(scale=2, min_width=320):
                upload = gr.Image(
                    type="filepath", sources=["upload", "clipboard"], height=210, label="Picture", elem_id="upload",
                )  # fmt: skip
                # The file as it was uploaded, with 16 bits, alpha and profile; we read it, and say what is wrong.
                upload.preprocess = lambda payload: payload and payload.path
                scale = gr.Radio([1, 2, 3, 4], value=start.scale, label="Enlarge ×", elem_id="scale")
                # "Use via API" writes its value as a text.
                scale.preprocess = lambda payload: int(payload)  # pyright: ignore[reportArgumentType]
                with gr.Row():
                    with gr.Column(scale=3, min_width=200):
                        width = gr.Slider(
                            *actions.WIDTHS, start.width, step=0.1, label="Sharpness", elem_id="sharpness",
                            info=WIDTH_INFO,
                        )  # fmt: skip
                        noise = gr.Slider(
                            0, 50, start.noise_level, step=0.5, label="Smoothness", elem_id="smoothness",
                            info="How noisy it is (0–255 scale)",
                        )  # fmt: skip
                    kernel = gr.Image(
                        label="Blur", height=150, width=150, interactive=False, buttons=[], elem_id="kernel", scale=1,
                        min_width=120,
                    )  # fmt: skip
                found_button = gr.Button("Find blur and noise", elem_id="find", size="sm")
                said = gr.Markdown(elem_id="found")
                crisp = gr.Slider(
                    0, 1, 0, step=0.05, label="Faithful … crisp", elem_id="crisp", visible=has_crisp,
                    info="To the right it looks sharper and invents more (model default)",
                )  # fmt: skip
                with gr.Accordion("Advanced", open=False, elem_id="advanced"):
                    blur = gr.Dropdown(
                        list(BLURS), value=GAUSSIAN, label="Blur", elem_id="blur",
                        info=f"Your own kernel may be {', '.join(SUFFIXES)}",
                    )  # fmt: skip
                    ratio = gr.Slider(0.1, 1, 1, step=0.05, label="Second width / width")
                    degrees = gr.Slider(0, 180, 0, step=1, label="Angle in degrees")
                    seed = gr.Number(
                        0, precision=0, minimum=0, label="Camera shake number", elem_id="seed", interactive=False
                    )
                    kernel_file = gr.File(
                        label="Kernel file", type="filepath", height=130, file_types=list(SUFFIXES),
                        elem_id="kernel-file",
                    )  # fmt: skip
                    number = gr.Number(
                        0, precision=0, minimum=0, label="Which kernel of the file, if it holds several",
                        elem_id="kernel-number",
                    )  # fmt: skip
                    model = gr.Dropdown(list(offered), value=next(iter(offered)), label="Model", elem_id="model")
                gr.Examples(
                    make_examples(folder), [upload, scale, width, noise, blur, seed], label="Examples",
                    elem_id="examples", example_labels=["shaken photo", "soft photo", "noisy photo"],
                )  # fmt: skip
            with gr.Column(scale=3, min_width=320):
                with gr.Row():
                    overview = gr.Image(
                        label="Click to move the frame", interactive=False, buttons=[], height=300,
                        elem_id="overview", min_width=200,
                    )  # fmt: skip
                    shown = gr.ImageSlider(
                        label="Preview: before | after", height=300, interactive=False, buttons=[],
                        elem_id="preview", min_width=200, format="png",
                    )  # fmt: skip
                with gr.Row():
                    x = gr.Slider(0, 100, 50, step=0.1, label="Frame, across in %", elem_id="x", min_width=140)
                    y = gr.Slider(0, 100, 50, step=0.1, label="Frame, down in %", elem_id="y", min_width=140)
                with gr.Row():
                    run = gr.Button("Restore all", variant="primary", elem_id="run")
                    cancel = gr.Button("Cancel", elem_id="cancel")
                    download = gr.DownloadButton("Download", elem_id="download")
                result = gr.ImageSlider(
                    label="Whole picture: before | after", interactive=False, buttons=["fullscreen"], max_height=640,
                    elem_id="result", format="png",
                )  # fmt: skip
                command = gr.Code(
                    label="The same on the command line", language="shell", interactive=False, lines=1,
                    wrap_lines=True, elem_id="command", buttons=["copy"],
                )  # fmt: skip

        controls = [scale, width, noise, blur, ratio, degrees, seed, kernel_file, model, number]
        if has_crisp:
            controls.append(crisp)
            model.change(lambda name: gr.update(interactive=offered.get(name) == "default"), model, crisp,
                         show_progress="hidden", api_visibility="private")  # fmt: skip
        changes = [upload.change, *(one.change for one in controls)]
        gr.on([page.load, *changes], describe_here, [upload, *controls], [kernel, command],
              trigger_mode="always_last", show_progress="hidden", api_visibility="private")  # fmt: skip
        gr.on([], describe, [upload, *controls], [kernel, command], api_name="describe")
        blur.change(used, blur, [width, ratio, degrees, seed], show_progress="hidden", api_visibility="private")
        kernel_file.upload(lambda: FILE, None, blur, show_progress="hidden", api_visibility="private")
        # These wait in our own line, from which they can be taken again.
        refused = gr.State(None)
        gr.on([*changes, x.change, y.change], preview_here, [refused, upload, x, y, *controls],
              [overview, shown, refused], trigger_mode="always_last", show_progress="minimal",
              concurrency_limit=None, api_visibility="private")  # fmt: skip
        gr.on([], preview, [upload, x, y, *controls], [overview, shown], concurrency_limit=None, api_name="preview")
        found_button.click(find, [upload, *controls],
                           [blur, width, ratio, degrees, noise, said, kernel_file, number],
                           concurrency_limit=None, trigger_mode="once", show_progress_on=said,
                           api_name="find")  # fmt: skip
        # Nothing of another picture stays beside this one.
        upload.change(lambda: ("", None, None), None, [said, result, download], show_progress="hidden",
                      api_visibility="private")  # fmt: skip
        overview.select(move, upload, [x, y], show_progress="hidden", api_visibility="private")
        run.click(restore_all, [upload, *controls], [result, download], concurrency_limit=None, trigger_mode="once",
                  api_name="restore_all")  # fmt: skip
        cancel.click(cancel_all, None, None, queue=False, api_name="cancel")
        page.unload(cancel_all)
    page.queue(max_size=limits.WAITING + limits.AT_ONCE, default_concurrency_limit=4)
    return page


def names_of(models: list[str]) -> dict[str, str]:
    """The models by what people choose from: the name of a file, with as many of its folders as tell it apart."""
    named: dict[str, str] = {}
    for model in models:
        others = {Path(other).parts for other in models if Path(other) != Path(model)}
        parts = Path(model).parts
        length = next((n for n in range(1, len(parts)) if parts[-n:] not in {one[-n:] for one in others}), len(parts))
        named[str(Path(*parts[-length:]))] = model
    return named


@contextmanager
def folder_for_result(folder: Path) -> Iterator[Path]:
    """A new folder in ``folder``; it stays only when all goes well."""
    made = Path(tempfile.mkdtemp(dir=folder))
    try:
        yield made
    except BaseException:
        shutil.rmtree(made, ignore_errors=True)
        raise
