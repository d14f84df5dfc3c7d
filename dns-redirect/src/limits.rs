//! Every limit of this daemon, by name.
//!
//! It promises that nothing here grows without one of these. The sums are chosen so that the
//! descriptors of a full house (look-ups, DNS connections, redirects, listeners) stay below 1024,
//! the usual soft limit of a process.

use std::time::Duration;

/// Look-ups that may wait for an upstream resolver at once, over all clients. One more is answered
/// SERVFAIL at once.
pub const UPSTREAM_LOOKUPS_MAX: usize = 256;

/// Of these, look-ups of names that only a wildcard of the walled garden lets pass. Anybody can make
/// up any number of such names, each of which the resolvers behind have to look for, so they must
/// not take the slots of the names that the garden spells out, the portal's first of all.
pub const UPSTREAM_LOOKUPS_MADE_UP_MAX: usize = 192;

/// Look-ups that one client address may have waiting for an upstream resolver at once, so that one
/// host that asks for random names below the walled garden does not take every slot.
pub const UPSTREAM_LOOKUPS_PER_SOURCE_MAX: usize = 16;

/// Questions that wait at once, for a look-up, which is the same for all who ask the same, or for the
/// gate. One more is answered SERVFAIL at once. Also the most tasks that UDP queries can cause.
pub const WAITING_MAX: usize = 4096;

/// As [`WAITING_MAX`], for one client address.
pub const WAITING_PER_SOURCE_MAX: usize = 32;

/// Answers of upstream resolvers that are kept at once, for names that the garden spells out; and as many
/// for names that only a wildcard lets pass.
pub const CACHE_ENTRIES_MAX: usize = 8192;

/// Bytes of one of them; longer ones are asked for anew.
pub const CACHE_MESSAGE_BYTES_MAX: usize = 4096;

/// Seconds that one of them is kept at most, whatever its records allow: where the portal is may change.
pub const CACHE_SECONDS_MAX: u32 = 60;

/// How often room is made in a full cache at most.
pub const CACHE_SWEEP_INTERVAL: Duration = Duration::from_secs(1);

/// Seconds that "I could not find out" is kept (RFC 9520, section 3.2: at least 1).
pub const CACHE_FAILURE_SECONDS: u32 = 1;

/// Seconds after its end that an answer is still given if no resolver gives a better one.
pub const STALE_SECONDS_MAX: u32 = 3600;

/// Seconds that a client may keep such an answer (RFC 8767, section 4).
pub const STALE_TTL_SECONDS: u32 = 30;

/// Seconds that a client may keep an answer for a name in the garden: the gate opens for this long.
pub const GARDEN_TTL_SECONDS_MAX: u32 = 3600;

/// Seconds that the gate is open beyond that: an answer takes its time, and so does a first packet.
pub const GARDEN_SLACK_SECONDS: u32 = 60;

/// Aliases followed from a question to its addresses.
pub const GARDEN_ALIASES_MAX: usize = 8;

/// Addresses that one entry of the garden may lead to at once: whoever rules over names below a wildcard
/// must not take the room of the others.
pub const GARDEN_ADDRESSES_PER_ENTRY_MAX: usize = 256;

/// Requests to the gate's owner that wait at once.
pub const GARDEN_REQUESTS_MAX: usize = 256;

/// How long the gate's owner may take.
pub const GARDEN_TIMEOUT: Duration = Duration::from_secs(1);

/// How long requests are refused at once after it could not be reached.
pub const GARDEN_RECONNECT_REST: Duration = Duration::from_millis(500);

/// Seconds until it is asked again about an address that no name may open.
pub const GARDEN_VERDICT_SECONDS: u32 = 60;

/// Upstream resolvers that one look-up is sent to, one after the other.
pub const UPSTREAM_ATTEMPTS_MAX: usize = 2;

/// How long one upstream resolver may take, TCP included.
pub const UPSTREAM_TIMEOUT: Duration = Duration::from_secs(2);

/// Failures in a row after which an upstream resolver counts as down.
pub const UPSTREAM_FAILURES_MAX: u32 = 3;

/// How long an upstream resolver that counts as down is passed over while there is another one.
/// Then one look-up tries it again.
pub const UPSTREAM_REST: Duration = Duration::from_secs(3);

/// Look-ups at once while every upstream resolver counts as down. One more is answered SERVFAIL at
/// once. Not 0, because "down" can be no more than some names that are slow to resolve: whoever
/// asks for those must not be able to take the portal's name from everybody else.
pub const UPSTREAM_PROBES_MAX: usize = 16;

/// Of these, look-ups of names that only a wildcard lets pass.
pub const UPSTREAM_PROBES_MADE_UP_MAX: usize = 12;

/// As [`UPSTREAM_PROBES_MAX`], for one client address.
pub const UPSTREAM_PROBES_PER_SOURCE_MAX: usize = 2;

/// Datagrams looked at while waiting for the answer to one question: those that do not match it
/// are ignored, but not for ever.
pub const UPSTREAM_DATAGRAMS_MAX: usize = 32;

/// Open DNS connections over TCP, over all listeners and clients.
pub const DNS_CONNECTIONS_MAX: usize = 256;

/// Open DNS connections over TCP of one client address.
pub const DNS_CONNECTIONS_PER_SOURCE_MAX: usize = 8;

/// How long a DNS connection may take to bring its next whole question, or to take an answer.
pub const DNS_CONNECTION_IDLE: Duration = Duration::from_secs(5);

/// Questions answered on one DNS connection before it is closed.
pub const DNS_CONNECTION_QUERIES_MAX: usize = 1000;

/// Bytes of one question over TCP. A question with every option that a resolver sends fits well.
pub const DNS_QUERY_BYTES_MAX: usize = 4096;

/// Records other than the question in a client's message: OPT, TSIG and a SOA are all there can be.
pub const DNS_QUERY_RECORDS_MAX: usize = 8;

/// The smallest UDP answer size that a client can ask for (RFC 6891, section 6.2.3).
pub const UDP_ANSWER_BYTES_MIN: u16 = 512;

/// The largest UDP answer that is sent: what passes every link without fragments.
pub const UDP_ANSWER_BYTES_MAX: u16 = 1232;

/// Bytes that the kernel is asked to queue for each UDP socket.
pub const UDP_RECEIVE_BUFFER_BYTES: usize = 4 << 20;

/// Open connections to the redirect, over all listeners and clients.
pub const REDIRECT_CONNECTIONS_MAX: usize = 256;

/// Open connections to the redirect of one client address.
pub const REDIRECT_CONNECTIONS_PER_SOURCE_MAX: usize = 16;

/// How long a client may take to send the head of its HTTP request.
pub const REDIRECT_HEAD_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a connection to the redirect may live.
pub const REDIRECT_CONNECTION_TIMEOUT: Duration = Duration::from_secs(15);

/// Bytes of the head of an HTTP request.
pub const REDIRECT_HEAD_BYTES_MAX: usize = 16 << 10;

/// Header fields of an HTTP request.
pub const REDIRECT_HEADERS_MAX: usize = 64;

/// Bytes of an HTTP request's body that are read, and thrown away, before the answer. Without that,
/// closing on an unread body resets the connection, and the client may never see the answer.
pub const REDIRECT_BODY_BYTES_MAX: usize = 64 << 10;

/// How long the body may take to arrive.
pub const REDIRECT_BODY_TIMEOUT: Duration = Duration::from_secs(2);

/// Connections that the kernel may hold for us to accept, for each listener.
pub const LISTEN_BACKLOG: i32 = 128;

/// How long to wait after the kernel refused to give us a connection or a datagram (no descriptor
/// left, no memory), instead of asking again at once.
pub const KERNEL_REFUSAL_REST: Duration = Duration::from_millis(100);

/// Open connections for the metrics.
pub const METRICS_CONNECTIONS_MAX: usize = 8;

/// How long one of them may live.
pub const METRICS_CONNECTION_TIMEOUT: Duration = Duration::from_secs(10);

/// How often the counters are logged, if any of them moved.
pub const COUNTERS_LOG_INTERVAL: Duration = Duration::from_secs(60);

/// Processes that are looked through for the one that holds a port.
pub const PROCESSES_MAX: usize = 65_536;
