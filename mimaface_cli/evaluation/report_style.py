"""The style sheet of the HTML report."""

STYLE = """
:root{color-scheme:light dark;
--ink:#1c2430;--soft:#667085;--line:#e4e7ec;--a:#2563eb;--b:#d97706;--bad:#b42318;--paper:#fff;--wash:#f8fafc}
@media (prefers-color-scheme:dark){:root{--ink:#e6e9ef;--soft:#98a2b3;--line:#2b3340;--a:#6ea8ff;--b:#f5b14c;
--bad:#ff8a80;--paper:#12161d;--wash:#181e27}}
*{box-sizing:border-box}body{margin:0;background:var(--paper);color:var(--ink);
font:14px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif}
main{max-width:1120px;margin:0 auto;padding:32px 24px 64px}h1{font-size:24px;margin:0 0 4px}
h2{font-size:17px;margin:40px 0 10px}h3{font-size:15px;margin:36px 0 6px;overflow-wrap:anywhere}
p{margin:4px 0;color:var(--soft)}.wide{overflow-x:auto}table{border-collapse:collapse;width:100%}
th,td{padding:5px 10px 5px 0;border-bottom:1px solid var(--line);text-align:left;vertical-align:top}
th{font-weight:600;vertical-align:bottom}td.better{white-space:nowrap}
.all{font-size:12px}.all td:first-child{min-width:210px;overflow-wrap:anywhere}
.all th{min-width:72px}
td.n,th.n{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}
td.why{color:var(--soft)}tr.group td{padding-top:18px;font-weight:600;border-color:var(--soft)}
tr.run td{font-weight:600;color:var(--a)}.note{color:var(--bad)}
.plots{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(340px,100%),1fr));gap:18px 24px;margin:14px 0}
.plot{width:100%;height:auto;display:block}.plot text{fill:var(--soft);font-size:10.5px}
.plot .title{fill:var(--ink);font-size:12.5px;font-weight:600}.grid{stroke:var(--line)}
.mark{stroke:var(--bad);stroke-dasharray:2 3;opacity:.6}.line{fill:none;stroke-width:1.5;stroke-linejoin:round}
.line.line0{stroke:var(--a)}.line.line1{stroke:var(--b)}.dot.line0{fill:var(--a)}.dot.line1{fill:var(--b)}
.plot text.key{font-size:11px}.plot text.key.line0{fill:var(--a)}.plot text.key.line1{fill:var(--b)}
td.best{font-weight:700}.by{color:var(--soft);font-size:11.5px}
.plot.curve{touch-action:pan-y;cursor:crosshair}.cursor{stroke:var(--ink);stroke-width:1;opacity:.7}
.plot text.tip{fill:var(--ink);font-size:11px;paint-order:stroke;stroke:var(--paper);stroke-width:3px}
.players{display:flex;flex-wrap:wrap;gap:8px 16px;align-items:flex-start;margin:14px 0}
.players img{height:auto;max-height:256px;max-width:100%}.players video{display:block;max-width:100%;background:#000}
summary{cursor:pointer;color:var(--soft);margin:10px 0}figure[data-time]{cursor:pointer}
@media (max-width:600px){main{padding:16px 14px 48px}.frames{gap:10px}figure img{height:auto;max-width:49%}
.players img{max-width:100%}.wide table.all{font-size:11px}}
.frames{display:flex;flex-wrap:wrap;gap:16px;margin:14px 0}figure{margin:0}figure img{display:block;height:168px;
background:var(--wash)}figure div{display:flex;gap:2px}figcaption{color:var(--soft);font-size:12px;max-width:340px}
@media print{.plots,.frames,table{break-inside:avoid}}
"""
