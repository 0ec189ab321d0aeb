"""The page of a blind test; @TITLE@ and @DATA@ are replaced."""

PAGE = """<!doctype html><html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width,initial-scale=1"><title>@TITLE@</title><style>
:root{--ink:#1c2430;--soft:#667085;--line:#d0d5dd;--paper:#fff;--a:#2563eb}
@media (prefers-color-scheme:dark){:root{--ink:#e6e9ef;--soft:#98a2b3;--line:#344054;--paper:#12161d;--a:#6ea8ff}}
*{box-sizing:border-box}body{margin:0;background:var(--paper);color:var(--ink);
font:16px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,Arial,sans-serif}
main{max-width:1280px;margin:0 auto;padding:16px}h1{font-size:20px;margin:0 0 4px}p{margin:4px 0;color:var(--soft)}
.pair{display:grid;grid-template-columns:1fr 1fr;gap:8px;margin:12px 0}
video{width:100%;max-height:60vh;background:#000;display:block}
.driver{max-width:320px;margin:0 auto}.row{display:flex;flex-wrap:wrap;gap:8px;justify-content:center}
button{font:inherit;color:inherit;background:none;border:1px solid var(--line);border-radius:8px;padding:10px 18px;
min-height:44px}button:hover,button:focus{border-color:var(--a)}button.chosen{background:var(--a);color:#fff}
</style></head><body><main><h1 id="question"></h1><p id="status"></p>
<div class="pair"><video id="left" muted loop playsinline></video>
<video id="right" muted loop playsinline></video></div>
<div class="row"><button id="voteleft">← Left</button><button id="votetie">↓ No difference</button>
<button id="voteright">Right →</button></div>
<p class="row"><button id="back">Back</button><button id="play">Play / pause (space)</button>
<button id="export">Export votes</button></p>
<div class="driver"><p id="drivertext">The driving video:</p><video id="driver" muted loop playsinline></video></div>
</main><script>
"use strict";
const data=@DATA@;
const byId=name=>document.getElementById(name);
const store="votes "+data.trials.map(trial=>trial.id.slice(0,4)).join("");
let votes={},position=0;
try{votes=JSON.parse(localStorage.getItem(store))||{}}catch(error){votes={}}
const videos=["left","right","driver"].map(byId);
function show(){
  const trial=data.trials[position];
  byId("status").textContent=trial?`Pair ${position+1} of ${data.trials.length}. Keys: ← → ↓, space.`
    :"All pairs have a vote. Export the votes and send the file back.";
  document.querySelector(".pair").hidden=!trial;
  for(const video of videos){const path=trial&&trial[video.id];
    video.hidden=!path;if(path){video.src=path;video.play().catch(()=>0)}else video.removeAttribute("src")}
  byId("drivertext").hidden=!(trial&&trial.driver);
  for(const choice of ["left","right","tie"])
    byId("vote"+choice).classList.toggle("chosen",!!trial&&(votes[trial.id]||{}).choice===choice);
}
function vote(choice){
  const trial=data.trials[position];if(!trial)return;
  votes[trial.id]={id:trial.id,choice};
  try{localStorage.setItem(store,JSON.stringify(votes))}catch(error){}
  position+=1;show();
}
function toggle(){
  const pause=!videos[0].paused;
  for(const video of videos)if(!video.hidden)pause?video.pause():video.play();
}
function exported(){
  return JSON.stringify({votes:data.trials.filter(trial=>votes[trial.id]).map(trial=>votes[trial.id])});
}
byId("question").textContent=data.question;
for(const choice of ["left","right","tie"])byId("vote"+choice).onclick=()=>vote(choice);
byId("back").onclick=()=>{position=Math.max(0,position-1);show()};
byId("play").onclick=toggle;
byId("export").onclick=()=>{const link=document.createElement("a");link.download="votes.json";
  link.href=URL.createObjectURL(new Blob([exported()],{type:"application/json"}));link.click()};
document.addEventListener("keydown",event=>{
  const choice={ArrowLeft:"left",ArrowRight:"right",ArrowDown:"tie"}[event.key];
  if(choice){event.preventDefault();vote(choice)}else if(event.key===" "){event.preventDefault();toggle()}
});
videos[0].addEventListener("timeupdate",()=>{for(const video of videos.slice(1))
  if(!video.hidden&&video.duration&&Math.abs(video.currentTime-videos[0].currentTime)>.08&&videos[0].currentTime<video.duration)
    video.currentTime=videos[0].currentTime});
while(data.trials[position]&&votes[data.trials[position].id])position+=1;
show();
</script></body></html>
"""
