'use strict';
// Draws the pictures that the server sends. Text is only ever set as text: names come from strangers.
const PICTURES_KEPT = 60, STALE_AFTER = 6000, TRY_AGAIN_AFTER = 15000, ROWS_MAX = 100;
const at = id => document.getElementById(id);
const pictures = [];
let live = false, arrived = 0, source = null;

const make = (name, text, attributes = {}) => {
  const it = document.createElement(name);
  if (text !== undefined && text !== null) it.textContent = text;
  for (const [key, value] of Object.entries(attributes)) it.setAttribute(key, value);
  return it;
};
const replace = (id, children) => at(id).replaceChildren(...children);

// The samples of OpenMetrics text: name, labels, value.
const samples = text => text.split('\n').flatMap(line => {
  const found = /^([a-z_]+)(?:\{(.*)\})? (\S+)$/.exec(line);
  if (!found) return [];
  const labels = {};
  for (const [, key, value] of (found[2] ?? '').matchAll(/([a-z_]+)="((?:[^"\\]|\\.)*)"/g)) labels[key] = value;
  return [{ name: found[1], labels, value: found[3] === '+Inf' ? Infinity : Number(found[3]) }];
});
const sum = (picture, name, wanted = () => true) =>
  picture.samples.filter(one => one.name === name && wanted(one.labels)).reduce((all, one) => all + one.value, 0);
const by = (picture, name, label) =>
  new Map(picture.samples.filter(one => one.name === name).map(one => [one.labels[label], one.value]));

const count = number => Math.round(number).toLocaleString('en');
const rate = number => (number < 10 && number > 0 ? number.toFixed(1) : count(number)) + ' / s';
const duration = seconds => seconds === null ? 'none' : seconds === Infinity ? 'over 10 s'
  : seconds < 0.001 ? (seconds * 1e6).toFixed(0) + ' µs' : seconds < 1 ? (seconds * 1000).toFixed(1) + ' ms' : seconds.toFixed(1) + ' s';

// What a counter grew by in a second, between each picture and the one before. A server that was started anew counts from 0.
const rates = reading => pictures.slice(1).map((picture, index) => {
  const before = pictures[index], grown = reading(picture) - reading(before);
  return Math.max(grown, 0) / Math.max((picture.at - before.at) / 1000, 0.001);
});
// The bound that a part of the durations between two pictures stayed under; null: there were none.
const quantile = (name, part, from, to) => {
  const old = by(from, name + '_bucket', 'le');
  const grown = [...by(to, name + '_bucket', 'le')].map(([le, value]) =>
    [le === '+Inf' ? Infinity : Number(le), Math.max(value - (old.get(le) ?? 0), 0)]).sort((a, b) => a[0] - b[0]);
  const all = grown.length ? grown[grown.length - 1][1] : 0;
  return all > 0 ? grown.find(([, value]) => value >= all * part)[0] : null;
};

const plot = (values, label) => {
  const space = 'http://www.w3.org/2000/svg', high = Math.max(...values, 1e-9), last = Math.max(values.length - 1, 1);
  const svg = document.createElementNS(space, 'svg'), line = document.createElementNS(space, 'polyline');
  svg.setAttribute('viewBox', '0 0 100 30');
  svg.setAttribute('preserveAspectRatio', 'none');
  svg.setAttribute('role', 'img');
  svg.setAttribute('aria-label', label);
  line.setAttribute('points', values.map((value, index) => `${(100 * index / last).toFixed(1)},${(29 - 28 * value / high).toFixed(1)}`).join(' '));
  svg.append(line);
  return svg;
};
const card = (title, figure, values, words) => {
  const it = make('div', null, { class: 'card' });
  it.append(make('p', title), make('p', figure, { class: 'figure' }));
  if (values && values.length > 1) it.append(plot(values, `${title}: ${figure}; ${words}`));
  return it;
};

const traffic = () => {
  const now = pictures[pictures.length - 1], first = pictures[0], last = list => list.length ? list[list.length - 1] : 0;
  const counted = (title, reading) => {
    const list = rates(reading);
    return card(title, list.length ? rate(last(list)) : '…', list, `at most ${rate(Math.max(...list, 0))} in these minutes`);
  };
  const timed = (title, name) => {
    const of = (part, from, to) => quantile(name, part, from, to);
    const list = pictures.slice(1).map((picture, index) => of(0.99, pictures[index], picture) ?? 0).map(value => Math.min(value, 10));
    const text = pictures.length < 2 ? '…' : `${duration(of(0.5, first, now))}, p99 ${duration(of(0.99, first, now))}`;
    return card(title, text, list, 'p99 of each picture');
  };
  const groups = picture => sum(picture, 'vestibule_group_records_count'), records = picture => sum(picture, 'vestibule_group_records_sum');
  const synced = groups(now) - groups(first);
  replace('traffic', [
    counted('Requests', picture => sum(picture, 'vestibule_packets_received_total')),
    counted('Replies', picture => sum(picture, 'vestibule_replies_sent_total')),
    counted('Not answered', picture => sum(picture, 'vestibule_packets_unanswered_total')),
    counted('Kernel drops', picture => sum(picture, 'vestibule_socket_kernel_drops_total')),
    timed('Write and sync', 'vestibule_sync_seconds'),
    timed('Kernel sets', 'vestibule_gate_transaction_seconds'),
    card('Leases to a sync', synced > 0 ? ((records(now) - records(first)) / synced).toFixed(1) : '…'),
  ]);
};

const terms = (id, list) => replace(id, list.flatMap(([term, text, is_bad]) =>
  [make('dt', term), make('dd', text, is_bad ? { class: 'bad' } : {})]));
const state = (now, name) => now.samples.find(one => one.name === name && one.value === 1)?.labels.state ?? 'unknown';

const details = () => {
  const now = pictures[pictures.length - 1], { status } = now;
  const well = at('health');
  well.className = status?.['everything-well'] ? 'good' : 'bad';
  const words = !status ? 'The server does not answer in time' : status['everything-well'] ? 'Everything is well' : 'Not everything is well';
  if (well.textContent !== words) well.textContent = words;
  replace('not-well', (status?.['not-well'] ?? []).map(text => make('li', text)));
  if (!status) return;
  at('server').textContent = `${status.server}, version ${status.version}`;
  document.title = `${status['everything-well'] ? '' : '(!) '}${status.server}: Vestibule`;
  replace('pools', status.networks.map(network => {
    const row = make('tr'), used = network['pool-size'] - network.free, size = network['pool-size'];
    const bar = make('meter', null, { min: 0, max: Math.max(size, 1), value: used, low: size * 0.8, high: size * 0.95, optimum: 0, 'aria-label': `${network.name}: addresses in use` });
    const cell = make('td');
    cell.append(bar, ` ${count(used)} of ${count(size)}`);
    const gated = text => network.gated ? count(text) : 'not gated';
    row.append(make('th', network.name, { scope: 'row' }), cell, make('td', count(network.free), network.free === 0 && size > 0 ? { class: 'bad' } : {}),
      make('td', gated(network.registered)), make('td', gated(network.unregistered)));
    return row;
  }));
  const gated = status.networks.filter(network => network.gated), all = key => count(gated.reduce((whole, network) => whole + network[key], 0));
  terms('gate', [['Enforced', status.gate.mode === 'local' ? 'on this host' : status.gate.mode === 'feed' ? 'by those who follow the feed' : 'nowhere', status.gate.mode === 'off'],
    ['Registered addresses', all('registered')], ['Unregistered addresses', all('unregistered')],
    ['Changes of the sets', count(sum(now, 'vestibule_gate_changes_total'))], ['Changes that failed', count(status.gate.failures), status.gate.failures > 0],
    ['Made anew', count(status.gate.reconciles)], ['Followers of the feed', count(status.gate.followers)],
    ['Replies that wait', count(sum(now, 'vestibule_replies_held'))]]);
  terms('disk', [['Leases known', count(status['leases-known'])], ['Registrations', count(status.registrations)], ['Offers', count(status.offers)],
    ['Journal', `${(sum(now, 'vestibule_journal_bytes') / 2 ** 20).toFixed(1)} MiB`],
    ['Segments that are ready', count(sum(now, 'vestibule_journal_spares')), sum(now, 'vestibule_journal_spare_failed') > 0],
    ['Dropped by the kernel', count(status['kernel-drops']), status['kernel-drops'] > 0], ['Replies not sent', count(status['send-errors']), status['send-errors'] > 0],
    ['Started (UTC)', (status.started ?? 'unknown').slice(0, 16).replace('T', ' ')]]);
  const has_pair = now.samples.some(one => one.name === 'vestibule_failover_state');
  const connected = sum(now, 'vestibule_failover_connected') === 1;
  terms('pair', !has_pair ? [['This server', 'is alone']] : [['Connection', connected ? 'up' : 'down', !connected],
    ['This half', state(now, 'vestibule_failover_state'), state(now, 'vestibule_failover_state') !== 'normal'], ['The other half', state(now, 'vestibule_failover_partner_state')],
    ['Updates not acknowledged', count(sum(now, 'vestibule_failover_updates_unacknowledged'))], ['Clock ahead', `${sum(now, 'vestibule_failover_clock_ahead_seconds')} s`]]);
  const minute = pictures.find(picture => now.at - picture.at <= 62000) ?? now, reason = 'vestibule_packets_unanswered_total';
  const before = by(minute, reason, 'reason');
  const reasons = [...by(now, reason, 'reason')].filter(([, value]) => value > 0)
    .map(([name, value]) => [name, Math.max(value - (before.get(name) ?? 0), 0), value]).sort((a, b) => b[1] - a[1] || b[2] - a[2]).slice(0, 10);
  replace('refused', (reasons.length ? reasons : [['none', 0, 0]]).map(([name, lately, value]) => {
    const row = make('tr');
    row.append(make('th', name, { scope: 'row' }), make('td', count(lately)), make('td', count(value)));
    return row;
  }));
};

const fresh = () => {
  const it = at('fresh'), age = Date.now() - arrived;
  const is_stale = arrived > 0 && age > STALE_AFTER && live;
  it.classList.toggle('stale', is_stale);
  const ago = age < 1500 ? 'now' : `${Math.round(age / 1000)} s ago`;
  it.textContent = arrived === 0 ? 'No picture of the server yet.' : is_stale ? `Nothing new since ${ago.replace(' ago', '')}: the server does not answer.`
    : live ? `Live. Last picture ${ago}.` : `Not live. Last picture ${ago}.`;
};
const show = text => {
  const picture = JSON.parse(text);
  arrived = Date.now();
  pictures.push({ at: arrived, status: picture.status, samples: samples(picture.samples) });
  if (pictures.length > PICTURES_KEPT) pictures.shift();
  traffic();
  details();
  fresh();
};
const listen = () => {
  source = new EventSource('/dashboard/live');
  source.addEventListener('picture', event => { live = true; show(event.data); });
  source.onerror = () => {
    live = false;
    fresh();
    // The browser tries again by itself unless it was refused: there are only so many places.
    if (source.readyState === EventSource.CLOSED) setTimeout(listen, TRY_AGAIN_AFTER);
  };
};
at('refresh').addEventListener('click', async () => {
  try {
    const answer = await fetch('/dashboard', { cache: 'no-store' });
    if (!answer.ok) throw new Error(`status ${answer.status}`);
    show(await answer.text());
  } catch (error) {
    at('fresh').textContent = `The server does not answer: ${error.message}.`;
    at('fresh').classList.add('stale');
  }
});

const ask = async path => {
  const answer = await fetch(path, { cache: 'no-store', headers: { authorization: `Bearer ${at('token').value.trim()}` } });
  const body = await answer.json().catch(() => ({}));
  if (answer.ok) return body;
  throw Object.assign(new Error(answer.status === 401 ? 'The server does not know this token.' : body.detail ?? body.title ?? `The server answered ${answer.status}.`), { status: answer.status });
};
// Names that strangers chose: what would act instead of being seen is written out, and its direction stays inside.
const plain = text => text.replace(/[\u0000-\u001f\u007f-\u009f\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]/g,
  character => '\\u{' + character.codePointAt(0).toString(16) + '}').slice(0, 256);
const foreign = text => { const it = make('bdi'); it.textContent = plain(text); return it; };
const line = (when, ...words) => {
  const it = make('li');
  it.append(make('time', when, { datetime: when }), ' ', ...words);
  return it;
};
const story = (lease, intervals) => {
  const events = [];
  for (const one of intervals ?? []) {
    events.push([one.from, [`${one.ip} is given to ${one.mac}`]]);
    for (const registration of one.registrations ?? []) {
      events.push([registration.from, [`${one.mac} is registered`, ...(registration.owner ? [' for ', foreign(registration.owner)] : [])]]);
      if (registration.until && registration.ended) events.push([registration.until, [`the registration of ${one.mac} ends`]]);
    }
    if (one.until) events.push([one.until, [one.ended ? `${one.ip} is given up by ${one.mac}: ${one.ended}` : `${one.ip} will be free if ${one.mac} does not renew`]]);
  }
  if (!intervals) {
    if (lease.started) events.push([lease.started, [`${lease.ip} is given to ${lease.mac}`]]);
    if (lease.changed && lease.changed !== lease.started) events.push([lease.changed, [lease.state === 'active' ? 'last renewal' : lease.state]]);
    if (lease.ends) events.push([lease.ends, [lease.state === 'active' ? 'ends if it is not renewed' : 'its end']]);
  }
  const list = make('ol'), seen = new Set();
  for (const [when, words] of events.sort((a, b) => a[0] < b[0] ? -1 : a[0] > b[0] ? 1 : 0)) {
    const it = line(when, ...words);
    if (!seen.has(it.textContent)) list.append(it);
    seen.add(it.textContent);
  }
  return list;
};
const result = async (lease, registration) => {
  const it = make('article'), about = make('dl');
  it.append(make('h3', lease ? lease.ip : registration.mac));
  const device = lease ?? registration;
  const rows = [['Hardware address', device.mac + (device.randomised ? ' (randomised)' : '')]];
  if (lease) rows.push(['State', lease.state], ['Network', lease.network ?? 'none of the configuration'], ['Host name', lease['host-name'] ? foreign(lease['host-name']) : 'none'],
    ['Relay', lease.relay ?? 'none'], ['Circuit', lease['circuit-id'] ? foreign(lease['circuit-id']) : 'none'], ['Registered', lease.registered ? 'yes' : lease['registration-state'] ?? 'no']);
  const owner = lease?.owner ?? registration?.owner;
  rows.push(['Owner', owner ? foreign(owner) : 'none']);
  if (registration) rows.push(['Registered', registration.registered ?? 'unknown'], ['Until', registration.expires ?? 'it is ended']);
  for (const [term, text] of rows) {
    const cell = make('dd');
    cell.append(text);
    about.append(make('dt', term), cell);
  }
  it.append(about);
  if (lease) {
    let intervals = null;
    try {
      intervals = (await ask(`/v1/history?limit=50&ip=${encodeURIComponent(lease.ip)}`)).intervals;
    } catch (error) { if (error.status === 401 || error.status === 403) throw error; }
    it.append(make('h4', 'Its story'), story(lease, intervals));
  }
  return it;
};
const MAC = /^([0-9a-f]{1,2}[:-]){5}[0-9a-f]{1,2}$|^([0-9a-f]{4}\.){2}[0-9a-f]{4}$|^[0-9a-f]{12}$/i, IP = /^\d{1,3}(\.\d{1,3}){3}$/;
at('search').addEventListener('submit', async event => {
  event.preventDefault();
  const query = at('query').value.trim(), say = text => { at('found').textContent = text; };
  replace('results', []);
  if (!at('token').value.trim()) { say('Type in a token first.'); at('token').focus(); return; }
  if (!query) { say('Type in what to look for.'); at('query').focus(); return; }
  say('Asking the server…');
  try {
    const wanted = encodeURIComponent(query), leases_of = async mac => (await ask(`/v1/leases?all=true&limit=${ROWS_MAX}&mac=${encodeURIComponent(mac)}`)).leases;
    let found = [];
    if (IP.test(query)) found = [[await ask(`/v1/leases/${wanted}`), null]];
    else if (MAC.test(query)) found = (await leases_of(query)).map(lease => [lease, null]);
    else for (const registration of (await ask(`/v1/registrations?limit=${ROWS_MAX}&owner=${wanted}`)).registrations) {
      const leases = await leases_of(registration.mac);
      found.push(...(leases.length ? leases.map(lease => [lease, registration]) : [[null, registration]]));
    }
    replace('results', await Promise.all(found.slice(0, ROWS_MAX).map(([lease, registration]) => result(lease, registration))));
    say(found.length === 1 ? '1 result.' : `${found.length} results.`);
  } catch (error) { say(error.message); }
});
setInterval(fresh, 1000);
listen();
