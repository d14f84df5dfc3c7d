//! The named limits of the core (P5): what it keeps at most, whatever arrives.

/// Offers that are kept in memory at once. An offer beyond it takes the place of the oldest.
pub const OFFERS_MAX: usize = 65_536;

/// Seconds that an offered address is kept for the client it was offered to.
pub const OFFER_HOLD_SECONDS: u64 = 30;

/// Steps that wait for their commit at once; a request beyond it is shed
/// ([`Reason::Overload`](crate::Reason::Overload)), because its ACK would come too late to be of use.
pub const STEPS_UNCOMMITTED_MAX: u64 = 16_384;

/// Packets that wait to be decided at most, when more come in than can be decided at once
/// ([`Admission`](crate::Admission)). At 20,000 packets a second the last of them waits for a fifth of a
/// second.
pub const ARRIVALS_WAITING_MAX: usize = 4096;

/// Milliseconds that a DISCOVER waits at most. Clients ask again after 1 to 5 seconds (RFC 2131 section
/// 4.1: 4 seconds, more or less).
pub const DISCOVER_WAIT_MILLISECONDS_MAX: u64 = 2000;

/// DISCOVERs of relays that wait in the admission before the kernel is told to throw others away unread
/// ([`Sieve`](crate::Sieve)): half of all places, so that a burst is served whole.
pub const DISCOVERS_WAITING_BEFORE_SIEVED: u64 = 2048;

/// DISCOVERs of relays that wait in the admission while the kernel throws others away unread
/// ([`Sieve`](crate::Sieve)): the places that are theirs there, whatever else comes.
pub const DISCOVERS_WAITING_WANTED: u64 = 512;

/// Relays that are told apart when DISCOVERs are thrown away unread. A program of the kernel's goes through
/// them for each DISCOVER, the busiest first, and may have 4096 instructions.
pub const RELAYS_SIEVED_MAX: usize = 512;

/// Leases, offers and registrations that one input lets run out at most; the rest follows with the
/// next one, so that no packet pays for an hour's expiries.
pub const ENDINGS_PER_STEP_MAX: usize = 64;

/// Former addresses of one client that it can be found by, and of one hardware address. Older ones are
/// still known by their address.
pub const FORMER_LEASES_MAX: usize = 8;

/// Places in which changes of addresses are kept until they are committed, to know which leases are
/// durable: enough that two changed addresses seldom share one.
pub const CHANGED_ADDRESSES_KEPT: usize = 65_536;

/// Leases that one hardware address holds at once, under whatever client identifiers.
pub const LEASES_PER_HARDWARE_ADDRESS_MAX: usize = 256;

/// Addresses that one hardware address can have put in quarantine at once by DECLINE. What it declines
/// beyond that is only given back.
pub const DECLINES_PER_HARDWARE_ADDRESS_MAX: usize = 4;

/// Addresses that are in the pools of one half of a failover pair only and are known by name, of each half.
pub const PAIR_MISMATCHED_ADDRESSES_MAX: usize = 4096;

/// Ranges that they are named in, of each half.
pub const PAIR_MISMATCHED_RANGES_MAX: usize = 16;

/// Registrations that are kept at once.
pub const REGISTRATIONS_MAX: usize = 2_000_000;

/// Bytes of an owner's name.
pub const OWNER_LENGTH_MAX: usize = 256;

/// Bytes of a sponsor's name.
pub const SPONSOR_LENGTH_MAX: usize = 256;

/// Bytes of the note to a registration.
pub const NOTE_LENGTH_MAX: usize = 1024;

/// Bytes of the reason of a suspension.
pub const SUSPENSION_REASON_LENGTH_MAX: usize = 512;

/// Bytes of a role's name.
pub const ROLE_LENGTH_MAX: usize = 64;

/// Roles that can be configured.
pub const ROLES_MAX: usize = 64;

/// The highest device limit that can be configured.
pub const DEVICE_LIMIT_MAX: u32 = 1000;

/// Classes of clients that can be configured.
pub const CLIENT_CLASSES_MAX: usize = 64;

/// Devices that an answer names at most.
pub const DEVICES_NAMED_MAX: usize = 64;

/// Registrations that one command imports at most: together they are one step, and packets wait for it.
pub const IMPORT_ENTRIES_MAX: usize = 256;

/// Vouchers that are kept at once, used up ones too.
pub const VOUCHERS_MAX: usize = 100_000;

/// Vouchers that one command makes at most: together they are one step, and packets wait for it.
pub const VOUCHERS_PER_COMMAND_MAX: usize = 256;

/// Seconds for which a voucher can be used if nobody says how long: a year.
pub const VOUCHER_USABLE_SECONDS_DEFAULT: u64 = 365 * 24 * 60 * 60;

/// The most devices that one voucher can let in.
pub const VOUCHER_USES_MAX: u16 = 256;

/// Unknown voucher codes that one device may send at once, if it has sent none before.
pub const VOUCHER_GUESSES_PER_DEVICE_MAX: u64 = 10;

/// Seconds until it may send one more.
pub const VOUCHER_GUESS_INTERVAL_SECONDS: u64 = 60;

/// Unknown voucher codes that all devices together may send at once.
pub const VOUCHER_GUESSES_MAX: u64 = 1000;

/// Milliseconds until they may send one more. A code has 75 random bits and there are at most 2^17
/// vouchers, so at this rate a guess is right once in a hundred million years.
pub const VOUCHER_GUESS_INTERVAL_MILLISECONDS: u64 = 10;

/// Devices whose wrong codes are kept in mind; one more takes the place of who waits for the least.
pub const VOUCHER_GUESSERS_KEPT_MAX: usize = 4096;

/// Words of a failover partner that one command takes over at most: together they are one step, and packets
/// wait for it.
pub const EXCHANGE_RECORDS_MAX: usize = 256;

/// Seconds for which the end of a registration is remembered for the failover partner: longer than a half of a
/// pair is away, 90 days.
pub const TOMBSTONE_SECONDS: u64 = 90 * 24 * 60 * 60;

/// Ends that are remembered at once; of more, the oldest are forgotten early.
pub const TOMBSTONES_MAX: usize = 1_000_000;

/// Seconds by which the partner's clock may be ahead, for its times to move this server's hybrid clock: a day.
pub const EXCHANGE_AHEAD_SECONDS_MAX: u64 = 24 * 60 * 60;

/// Leases in one answer to a query.
pub const QUERY_LEASES_MAX: usize = 1000;

/// Bytes of a host name that are kept with a lease; the rest is cut off.
pub const HOST_NAME_LENGTH_MAX: usize = 255;

/// The shortest lifetime that may be configured, in seconds.
pub const LIFETIME_SECONDS_MIN: u32 = 10;

/// The longest lifetime that may be configured, in seconds: a year.
pub const LIFETIME_SECONDS_MAX: u32 = 366 * 24 * 60 * 60;

/// The largest DHCP message that is ever sent, in bytes of IP packet: Ethernet's MTU.
pub const MESSAGE_SIZE_MAX: u16 = 1500;

/// The message size that every client must take, in bytes of IP packet (RFC 2131 section 2).
pub const MESSAGE_SIZE_MIN: u16 = 576;
