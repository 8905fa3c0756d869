// What MiniWoB++'s pages have of their core, written from its description: an episode, its reward, a seed.
var WOB_TASK_READY = true, WOB_DONE_GLOBAL = false, WOB_RAW_REWARD_GLOBAL = 0;
Math.seedrandom = seed => {
  let state = [...String(seed)].reduce((sum, character) => (sum * 31 + character.charCodeAt(0)) >>> 0, 7);
  Math.random = () => (state = (state * 1664525 + 1013904223) >>> 0) / 4294967296;
};
var core = {
  EPISODE_MAX_TIME: 10000,
  randi: (least, limit) => Math.floor(Math.random() * (limit - least) + least),
  startEpisode: () => { document.getElementById('sync-task-cover').style.display = 'block'; },
  startEpisodeReal: () => {
    genProblem();
    WOB_DONE_GLOBAL = false;
    document.getElementById('sync-task-cover').style.display = 'none';
    setTimeout(() => core.endEpisode(-1), core.EPISODE_MAX_TIME);
  },
  endEpisode: reward => {
    WOB_DONE_GLOBAL = true;
    WOB_RAW_REWARD_GLOBAL = reward;
    core.startEpisode();
  },
  getUtterance: () => document.getElementById('query').textContent,
};
