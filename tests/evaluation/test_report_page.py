"""The HTML report in a real browser: players, values under the pointer, phones, dark mode."""

from pathlib import Path

import pytest

from mimaface_cli.evaluation.evaluate import evaluate
from mimaface_cli.evaluation.evaluation_result import Evaluation
from mimaface_cli.evaluation.report import write_report
from tests.browser import needs_browser, run_in_page

POINT = (
    "const svg=document.querySelector('svg.curve');const box=svg.getBoundingClientRect();"
    "const move=(name,x)=>svg.dispatchEvent(new PointerEvent(name,{clientX:box.left+x*box.width,clientY:box.top+40}));"
)


@pytest.fixture
def evaluation(sample, cache) -> Evaluation:
    return evaluate(sample.driver, sample.driver, sample.driver, cache=cache)


@pytest.fixture
def page(evaluation, tmp_path) -> Path:
    path = tmp_path / "report.html"
    write_report(path, evaluation)
    return path


def test_report_names_method_and_protocol_beside_each_figure(page):
    text = page.read_text("utf-8")
    assert "Protocol: same identity, own pairs" in text
    assert "pixels; whole frame; longest side at most 512 px" in text and "MediaPipe + face478; tracked face" in text
    assert "figures are missing" in text and "needs the mimaface weights" in text


def test_report_is_the_same_in_every_run(evaluation, page, tmp_path):
    write_report(tmp_path / "again.html", evaluation)
    assert (tmp_path / "again.html").read_bytes() == page.read_bytes()


def test_report_survives_files_that_are_gone(evaluation, tmp_path, monkeypatch):
    row = evaluation.rows[0]
    gone = type(row)(row.pair, tmp_path / "gone.mp4", row.figures)
    write_report(tmp_path / "gone.html", Evaluation([gone], evaluation.means, evaluation.reasons))
    assert "<video" not in (tmp_path / "gone.html").read_text("utf-8")


@needs_browser
def test_report_plays_result_and_driver_side_by_side_in_a_browser(page, tmp_path):
    script = (
        "const video=document.querySelector('video');"
        "const tell=()=>report({width:video.videoWidth,height:video.videoHeight,seconds:video.duration,"
        "source:document.querySelector('.players img').naturalWidth,blob:video.src.startsWith('blob:')});"
        "video.readyState?tell():video.addEventListener('loadedmetadata',tell);"
        "video.addEventListener('error',()=>report({error:'cannot play'}))"
    )
    values = run_in_page(page, script, tmp_path)
    assert values["blob"] and (values["width"], values["height"]) == (512, 256) and values["source"] == 256
    assert values["seconds"] == pytest.approx(14 * 1001 / 30000, abs=0.05)


@needs_browser
def test_report_shows_values_under_the_pointer_and_seeks(page, tmp_path):
    script = POINT + (
        "const video=document.querySelector('video');const tell=()=>{move('pointermove',.6);"
        "const tips=[...document.querySelectorAll('text.tip')];"
        "report({tips:tips.length,shown:tips.filter(tip=>tip.getAttribute('visibility')==='visible').length,"
        "text:tips[0].textContent,time:video.currentTime})};"
        "video.readyState?tell():video.addEventListener('loadedmetadata',tell)"
    )
    values = run_in_page(page, script, tmp_path)
    assert values["tips"] >= 8 and values["shown"] == values["tips"]
    seconds, _, value = values["text"].partition(" s: ")
    assert 0.2 < float(seconds) < 0.35 and float(value) == 100.0  # PSNR of the driver against itself
    assert values["time"] == pytest.approx(float(seconds), abs=0.05)


@needs_browser
def test_report_fits_a_phone(page, tmp_path):
    script = (
        "report({width:document.documentElement.scrollWidth,"
        "text:parseFloat(getComputedStyle(document.body).fontSize),"
        "columns:getComputedStyle(document.querySelector('.plots')).gridTemplateColumns.split(' ').length})"
    )
    assert run_in_page(page, script, tmp_path, width=360) == {"width": 360, "text": 14, "columns": 1}


@needs_browser
def test_report_follows_the_dark_mode(page, tmp_path):
    script = "report({paper:getComputedStyle(document.body).backgroundColor})"
    assert run_in_page(page, script, tmp_path)["paper"] == "rgb(255, 255, 255)"
    assert run_in_page(page, script, tmp_path / "dark", dark=True)["paper"] == "rgb(18, 22, 29)"


@needs_browser
def test_values_under_the_pointer_stay_beside_the_axis(page, tmp_path):
    script = (
        f"{POINT}const outside=[];for(const x of [0.2,0.45,0.55,0.65,0.95]){{move('pointermove',x);"
        "for(const other of document.querySelectorAll('svg.curve')){"
        "const data=JSON.parse(other.dataset.curve);const tip=other.querySelector('.tip').getBBox();"
        "if(tip.x<data.left-.5||tip.x+tip.width>data.right+.5)outside.push([x,tip.x,data.left])}}"
        "report({outside,longest:Math.max(...[...document.querySelectorAll('.tip')].map(tip=>tip.getBBox().width))})"
    )
    values = run_in_page(page, script, tmp_path)
    assert values["outside"] == [] and values["longest"] > 100
