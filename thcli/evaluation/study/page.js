'use strict';

const byId = (id) => document.getElementById(id);
const study = JSON.parse(byId('study').textContent);
const place = 'thgen-study-' + study.study;
const storage = openStorage();
const video = byId('video');
const unplayable = new Set();

// One viewer's work: the order of the videos, what was watched and answered, and where it goes on.
let state = load();
let unsaved = false;

function openStorage() {
  try {
    window.localStorage.setItem(place + '-test', '');
    window.localStorage.removeItem(place + '-test');
    return window.localStorage;
  } catch {
    return null; // switched off, full, or forbidden to pages from a file
  }
}

function load() {
  try {
    const kept = JSON.parse(storage.getItem(place));
    const whole = kept.order.length === study.videos.length && kept.order.every((name) => study.videos.includes(name));
    return whole && kept.viewer && kept.answers && kept.watched ? kept : null;
  } catch {
    return null;
  }
}

function keep() {
  unsaved = true;
  try {
    storage.setItem(place, JSON.stringify(state));
  } catch {
    byId('forgetful').hidden = false;
  }
}

function forget() {
  state = null;
  unsaved = false;
  storage?.removeItem(place);
}

// The order follows the viewer's name: every viewer has an order of their own, and the same one after a reload.
function orderFor(viewer) {
  const rank = new Map(study.videos.map((name) => [name, hash([study.study, viewer, name].join('\n'))]));
  return [...study.videos].sort((a, b) => rank.get(a) - rank.get(b));
}

function hash(text) { // FNV-1a, then MurmurHash3's last steps, so that similar texts come far apart
  let value = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) value = Math.imul(value ^ text.charCodeAt(i), 0x01000193);
  value = Math.imul(value ^ (value >>> 16), 0x85ebca6b);
  value = Math.imul(value ^ (value >>> 13), 0xc2b2ae35);
  return (value ^ (value >>> 16)) >>> 0;
}

const isRated = (name) => study.questions.every((question) => question.name in (state.answers[name] ?? {}));
const countRated = () => state.order.filter(isRated).length;
const counted = (number, noun) => `${number} ${noun}${number === 1 ? '' : 's'}`;

function show(id) {
  for (const section of document.querySelectorAll('section')) section.hidden = section.id !== id;
  window.scrollTo(0, 0);
}

// Welcome

function showWelcome() {
  byId('amount').textContent = counted(study.videos.length, 'short video');
  byId('minutes').textContent = counted(study.minutes, 'minute');
  byId('forgetful').hidden = storage !== null;
  byId('begin').hidden = state !== null;
  byId('again').hidden = state === null;
  if (state) {
    byId('found').textContent =
      `Welcome back, ${state.viewer}. You have rated ${countRated()} of ${counted(state.order.length, 'video')}.`;
  }
  show('welcome');
}

byId('begin').addEventListener('submit', (event) => {
  event.preventDefault();
  const viewer = byId('viewer').value.trim().replace(/\s+/g, ' ').normalize('NFC');
  if (!viewer) return;
  const started = new Date().toISOString();
  state = {viewer, order: orderFor(viewer), answers: {}, watched: [], at: 0, started};
  keep();
  showPlace();
});

byId('resume').addEventListener('click', showPlace);

byId('another').addEventListener('click', () => {
  if (countRated() && !window.confirm(`Delete the answers of ${state.viewer} from this browser?`)) return;
  forget();
  showWelcome();
  byId('viewer').focus();
});

// Rating

function build() {
  byId('screen').style.setProperty('--shape', study.shape);
  const [lowest, highest] = study.scale;
  for (const question of study.questions) {
    const field = byId('question').content.cloneNode(true).querySelector('fieldset');
    field.querySelector('legend').textContent = question.text;
    const ends = field.querySelector('.ends');
    ends.id = question.name + '-ends';
    ends.children[0].textContent = `${lowest}: ${question.lowest}`;
    ends.children[1].textContent = `${highest}: ${question.highest}`;
    field.setAttribute('aria-describedby', ends.id);
    for (let value = lowest; value <= highest; value++) {
      const label = document.createElement('label');
      const input = Object.assign(document.createElement('input'), {type: 'radio', name: question.name, value});
      const number = Object.assign(document.createElement('span'), {textContent: value});
      label.append(input, number);
      field.querySelector('.scale').append(label);
    }
    byId('questions').append(field);
  }
}

function showPlace() {
  if (state.at >= state.order.length) {
    showEnd();
    return;
  }
  const name = state.order[state.at];
  setVideo(name);
  for (const input of byId('ratings').querySelectorAll('input')) {
    input.checked = state.answers[name]?.[input.name] === Number(input.value);
  }
  byId('count').textContent = `Video ${state.at + 1} of ${state.order.length}`;
  byId('progress').max = state.order.length;
  byId('back').disabled = state.at === 0;
  byId('next').textContent = state.at + 1 < state.order.length ? 'Next' : 'Finish';
  show('rate');
  update();
  byId('play').focus();
}

function setVideo(name) {
  dropVideo();
  const bytes = Uint8Array.from(atob(byId('video-' + name).textContent), (letter) => letter.charCodeAt(0));
  video.src = URL.createObjectURL(new Blob([bytes], {type: 'video/mp4'}));
}

function dropVideo() {
  video.pause();
  if (video.src) URL.revokeObjectURL(video.src);
  video.removeAttribute('src');
}

// What may be done now, and the line that says what is to be done next.
function update() {
  const name = state.order[state.at];
  const watched = state.watched.includes(name);
  const failed = unplayable.has(name);
  for (const field of byId('questions').children) field.disabled = !watched;
  byId('next').disabled = !failed && !isRated(name);
  byId('progress').value = countRated();
  byId('play').disabled = failed;
  byId('play').classList.toggle('main', !watched);
  byId('play').textContent = !video.paused && !video.ended ? 'Pause' : watched ? 'Play again' : 'Play';
  byId('hint').textContent = failed
    ? 'This browser cannot play the video. Go on, or open the page in another browser.'
    : !watched ? 'Watch it to its end, then rate it.'
    : !isRated(name) ? 'Now answer both questions.' : '';
}

function togglePlay() {
  if (video.paused || video.ended) video.play().catch(() => update());
  else video.pause();
}

byId('play').addEventListener('click', togglePlay);
video.addEventListener('click', togglePlay);
for (const event of ['play', 'pause']) video.addEventListener(event, () => state && update());
video.addEventListener('ended', () => {
  const name = state.order[state.at];
  if (!state.watched.includes(name)) state.watched.push(name);
  keep();
  update();
});
video.addEventListener('error', () => {
  if (!video.hasAttribute('src')) return; // taken away by dropVideo
  unplayable.add(state.order[state.at]);
  update();
});

byId('ratings').addEventListener('change', (event) => {
  const answers = (state.answers[state.order[state.at]] ??= {});
  answers[event.target.name] = Number(event.target.value);
  keep();
  update();
});

function go(steps) {
  state.at = Math.min(Math.max(state.at + steps, 0), state.order.length);
  keep();
  showPlace();
}

byId('ratings').addEventListener('submit', (event) => {
  event.preventDefault();
  if (!byId('next').disabled) go(1);
});
byId('back').addEventListener('click', () => go(-1));
byId('stop').addEventListener('click', showEnd);

// End

function showEnd() {
  dropVideo();
  byId('thanks').textContent = `Thank you, ${state.viewer}`;
  byId('rated').textContent = `You have rated ${countRated()} of ${counted(state.order.length, 'video')}.`;
  byId('saved').textContent = '';
  byId('anew').hidden = true;
  byId('plain').open = false;
  byId('text').value = answersText();
  show('end');
  byId('thanks').focus();
}

function answersText() {
  const given = state.order.filter((name) => Object.keys(state.answers[name] ?? {}).length);
  const answers = Object.fromEntries(given.map((name) => [name, state.answers[name]]));
  const {viewer, order, started} = state;
  const saved = new Date().toISOString();
  return JSON.stringify({format: 1, study: study.study, viewer, started, saved, order, answers}, null, 1) + '\n';
}

byId('review').addEventListener('click', () => {
  state.at = Math.min(state.at, state.order.length - 1);
  showPlace();
});

byId('save').addEventListener('click', () => {
  const file = `answers_${state.viewer.replace(/[^\p{L}\p{N}-]+/gu, '_')}.json`;
  const link = document.createElement('a');
  link.href = URL.createObjectURL(new Blob([answersText()], {type: 'application/json'}));
  link.download = file;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
  unsaved = false;
  byId('saved').textContent = `Saved as ${file}, where this browser puts its downloads.`;
  byId('anew').hidden = false;
});

byId('anew').addEventListener('click', () => {
  forget();
  byId('viewer').value = '';
  showWelcome();
});

window.addEventListener('beforeunload', (event) => {
  if (unsaved && storage === null) event.preventDefault();
});

build();
showWelcome();
