"""The script of the HTML report: players, and values of the curves under the pointer."""

SCRIPT = """
"use strict";
for(const video of document.querySelectorAll("video[data-clip]")){
  const bytes=Uint8Array.from(atob(video.dataset.clip),character=>character.charCodeAt(0));
  video.src=window.URL.createObjectURL(new Blob([bytes],{type:"video/mp4"}));
  video.removeAttribute("data-clip");
}
function add(svg,name,attributes){
  const element=document.createElementNS("http://www.w3.org/2000/svg",name);
  for(const key in attributes)element.setAttribute(key,attributes[key]);
  svg.appendChild(element);return element;
}
function number(value){return value===null||value===undefined?"–":String(Number(value.toPrecision(4)))}
for(const section of document.querySelectorAll("section.result")){
  const video=section.querySelector("video");
  const plots=[...section.querySelectorAll("svg.curve")].map(svg=>{
    const data=JSON.parse(svg.dataset.curve);
    return {svg,data,line:add(svg,"line",{class:"cursor",y1:data.top,y2:data.bottom,visibility:"hidden"}),
      tip:add(svg,"text",{class:"tip",y:data.top-2,visibility:"hidden"})};
  });
  function point(time){
    for(const {data,line,tip} of plots){
      const width=data.right-data.left;
      const x=data.left+(time-data.start)/data.duration*width;
      const inside=x>=data.left-.5&&x<=data.right+.5;
      for(const element of [line,tip])element.setAttribute("visibility",inside?"visible":"hidden");
      if(!inside)continue;
      let best=0;
      data.times.forEach((other,index)=>{if(Math.abs(other-time)<Math.abs(data.times[best]-time))best=index});
      line.setAttribute("x1",x);line.setAttribute("x2",x);
      const values=data.curves.map(([label,values])=>(label?label+" ":"")+number(values[best]));
      tip.textContent=data.times[best].toFixed(2)+" s: "+values.join(", ");
      const length=tip.getComputedTextLength(),start=x>data.left+width/2?x-4-length:x+4;
      tip.setAttribute("x",Math.max(data.left,Math.min(start,data.right-length)));
    }
  }
  function seek(time){
    if(video&&video.duration&&time<=video.duration){video.currentTime=Math.max(0,time)}
    point(time);
  }
  for(const {svg,data} of plots){
    const time=event=>{
      const box=svg.getBoundingClientRect();
      const x=(event.clientX-box.left)/box.width*svg.viewBox.baseVal.width;
      return Math.min(Math.max(data.start+(x-data.left)/(data.right-data.left)*data.duration,data.start),
        data.start+data.duration);
    };
    svg.addEventListener("pointermove",event=>{if(!video||video.paused)seek(time(event))});
    svg.addEventListener("pointerdown",event=>seek(time(event)));
  }
  if(video){
    video.addEventListener("timeupdate",()=>{if(!video.paused)point(video.currentTime)});
    video.addEventListener("seeked",()=>point(video.currentTime));
  }
  for(const frame of section.querySelectorAll("figure[data-time]")){
    frame.addEventListener("click",()=>seek(Number(frame.dataset.time)));
  }
}
"""
