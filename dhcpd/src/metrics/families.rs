//! Every family of metrics: its name, its kind, and what it says. `docs/metrics.md` has the same, which a
//! test compares.

use prometheus_client::metrics::MetricType;

/// Every family: name, kind, and what it says. Counters get `_total` behind their name in the text.
pub(super) const FAMILIES: &[(&str, MetricType, &str)] = &[
    ("vestibule_build_info", MetricType::Gauge, "Always 1; the version is in the label"),
    ("vestibule_packets_received", MetricType::Counter, "Decoded messages by type"),
    ("vestibule_replies_sent", MetricType::Counter, "Replies that the kernel took, by type"),
    ("vestibule_naks", MetricType::Counter, "NAKs by reason"),
    (
        "vestibule_packets_unanswered",
        MetricType::Counter,
        "Packets without a reply, by reason and by whose fault it is",
    ),
    (
        "vestibule_unknown_network_packets",
        MetricType::Counter,
        "Packets from networks that are not configured, by the relay's address",
    ),
    (
        "vestibule_packets_shed",
        MetricType::Counter,
        "Packets that were shed because more came than could be served, by their relay",
    ),
    ("vestibule_send_errors", MetricType::Counter, "Replies that the kernel refused to send"),
    (
        "vestibule_socket_receive_buffer_bytes",
        MetricType::Gauge,
        "Bytes that the kernel queues for a DHCP socket at most",
    ),
    (
        "vestibule_socket_kernel_drops",
        MetricType::Counter,
        "Packets that the kernel dropped because a socket's queue was full",
    ),
    ("vestibule_group_records", MetricType::Histogram, "Records per committed group"),
    ("vestibule_sync_seconds", MetricType::Histogram, "Time of a group's write and sync"),
    (
        "vestibule_gate_transaction_seconds",
        MetricType::Histogram,
        "Time of a group's transaction on the kernel sets",
    ),
    ("vestibule_gate_changes", MetricType::Counter, "Addresses changed in the kernel sets"),
    ("vestibule_gate_failures", MetricType::Counter, "Failed transactions on the kernel sets"),
    (
        "vestibule_gate_reconciles",
        MetricType::Counter,
        "Times that the whole of the kernel sets was replaced",
    ),
    ("vestibule_replies_held", MetricType::Gauge, "Replies that wait for their commit now"),
    (
        "vestibule_pool_exhausted",
        MetricType::Counter,
        "Times that a client found no free address, by network",
    ),
    (
        "vestibule_index_out",
        MetricType::Gauge,
        "1 if there is no index to ask: searches look through all leases",
    ),
    ("vestibule_index_rebuilds", MetricType::Counter, "Times that the index was built again"),
    (
        "vestibule_history_failed",
        MetricType::Gauge,
        "1 if the history cannot be used for now; nothing else depends on it",
    ),
    (
        "vestibule_history_intervals",
        MetricType::Gauge,
        "Intervals in the history; one that has just ended may count twice",
    ),
    (
        "vestibule_history_bytes",
        MetricType::Gauge,
        "Bytes of the history on disk, indexes not counted",
    ),
    (
        "vestibule_history_frames_behind",
        MetricType::Gauge,
        "Frames of the journal that the history has not taken in",
    ),
    (
        "vestibule_history_gaps",
        MetricType::Counter,
        "Times that a part of the journal was gone before the history had read it",
    ),
    (
        "vestibule_history_damaged",
        MetricType::Counter,
        "Parts of the history that could not be read",
    ),
    (
        "vestibule_leases_reused",
        MetricType::Counter,
        "Renewals that were answered from the lease as it was, without a write",
    ),
    (
        "vestibule_options_left_out",
        MetricType::Counter,
        "Options that did not fit into their reply",
    ),
    (
        "vestibule_journal_bytes",
        MetricType::Gauge,
        "Bytes of journal since the last snapshot was begun",
    ),
    ("vestibule_journal_segments", MetricType::Gauge, "Segments of the journal on disk"),
    ("vestibule_journal_spares", MetricType::Gauge, "Segments that are ready to be used next"),
    (
        "vestibule_journal_spare_failed",
        MetricType::Gauge,
        "1 if no further segment can be prepared: commits fail when this one is full",
    ),
    ("vestibule_api_responses", MetricType::Counter, "Answers of the API by HTTP status"),
    ("vestibule_api_connections", MetricType::Gauge, "Open connections to the API"),
    (
        "vestibule_api_connections_refused",
        MetricType::Counter,
        "Connections to the API that were closed because too many were open",
    ),
    (
        "vestibule_api_handshakes_failed",
        MetricType::Counter,
        "Connections to api.tls-listen without a session",
    ),
    ("vestibule_gate_followers", MetricType::Gauge, "Followers of the gate feed now"),
    ("vestibule_gate_changes_told", MetricType::Counter, "Changes told, once for each follower"),
    ("vestibule_gate_snapshots_told", MetricType::Counter, "Snapshots of the gate told"),
    ("vestibule_gate_followers_resumed", MetricType::Counter, "Feeds that went on after a cursor"),
    ("vestibule_gate_followers_refused", MetricType::Counter, "Followers too many or too slow"),
    (
        "vestibule_captive_answers",
        MetricType::Counter,
        "Answers of the captive portal API, by what the device was told",
    ),
    ("vestibule_captive_connections", MetricType::Gauge, "Open connections to captive.listen"),
    (
        "vestibule_captive_connections_refused",
        MetricType::Counter,
        "Connections to captive.listen that were closed because too many were open",
    ),
    (
        "vestibule_captive_handshakes_failed",
        MetricType::Counter,
        "Connections to captive.listen that came to no TLS session",
    ),
    ("vestibule_events", MetricType::Counter, "Events told, by kind"),
    ("vestibule_event_subscribers", MetricType::Gauge, "Readers that follow the events now"),
    (
        "vestibule_event_subscribers_cut",
        MetricType::Counter,
        "Readers of events that were cut off because they were too slow",
    ),
    (
        "vestibule_webhook_events",
        MetricType::Counter,
        "Events that a webhook's receiver has taken, by webhook",
    ),
    (
        "vestibule_webhook_failures",
        MetricType::Counter,
        "Deliveries that a webhook's receiver did not take, by webhook",
    ),
    (
        "vestibule_webhook_dropped",
        MetricType::Counter,
        "Ids of events that a webhook passed over because they are kept no more, by webhook",
    ),
    (
        "vestibule_failover_state",
        MetricType::Gauge,
        "1 for the state of this half of the failover pair",
    ),
    (
        "vestibule_failover_partner_state",
        MetricType::Gauge,
        "1 for the state that the failover partner last said",
    ),
    (
        "vestibule_failover_state_since_seconds",
        MetricType::Gauge,
        "When this half's state began, in seconds since 1970",
    ),
    (
        "vestibule_failover_partner_state_since_seconds",
        MetricType::Gauge,
        "When the failover partner last said another state, in seconds since 1970; 0 if never",
    ),
    ("vestibule_failover_connected", MetricType::Gauge, "1 if the failover partner is heard"),
    (
        "vestibule_failover_mclt_seconds",
        MetricType::Gauge,
        "The maximum client lead time that the pair goes by",
    ),
    (
        "vestibule_failover_clock_ahead_seconds",
        MetricType::Gauge,
        "By how much this server's clock is ahead of the failover partner's",
    ),
    (
        "vestibule_failover_updates_unacknowledged",
        MetricType::Gauge,
        "Updates on their way to the failover partner",
    ),
    (
        "vestibule_failover_updates_waiting",
        MetricType::Gauge,
        "Addresses of which the failover partner is still to be told",
    ),
    (
        "vestibule_failover_updates_refused",
        MetricType::Counter,
        "Updates that one half of the failover pair refused, by which",
    ),
    (
        "vestibule_failover_addresses_refused",
        MetricType::Gauge,
        "Addresses of which the failover partner does not take what is so",
    ),
    (
        "vestibule_failover_mismatched_addresses",
        MetricType::Gauge,
        "Addresses in the pools of one half of the failover pair only, as far as the two have spoken of them",
    ),
    (
        "vestibule_failover_free_addresses",
        MetricType::Gauge,
        "Free addresses of the primary's, by network",
    ),
    (
        "vestibule_failover_backup_addresses",
        MetricType::Gauge,
        "Free addresses of the secondary's, by network",
    ),
    (
        "vestibule_failover_other_addresses",
        MetricType::Gauge,
        "Addresses of the pools that are held, or that both halves do not yet agree to be free, by network",
    ),
    (
        "vestibule_failover_messages_sent",
        MetricType::Counter,
        "Messages sent to the failover partner",
    ),
    (
        "vestibule_failover_connections_ended",
        MetricType::Counter,
        "Connections of the failover link that ended, or did not come about, by reason",
    ),
    (
        "vestibule_exchange_connected",
        MetricType::Gauge,
        "1 if the failover partner's registrations are followed now, else 0",
    ),
    (
        "vestibule_exchange_behind",
        MetricType::Gauge,
        "Changes that the partner has told of and that are still to be taken over, or fewer",
    ),
    (
        "vestibule_exchange_lag_seconds",
        MetricType::Gauge,
        "Seconds since this server last held all that the partner had told it of",
    ),
    (
        "vestibule_exchange_records_taken",
        MetricType::Counter,
        "Changes of the partner's that were taken over",
    ),
    (
        "vestibule_exchange_records_refused",
        MetricType::Counter,
        "Changes of the partner's that a limit kept out",
    ),
    (
        "vestibule_exchange_records_far_ahead",
        MetricType::Counter,
        "Changes of the partner's that were dated more than a day ahead of this server's clock",
    ),
    (
        "vestibule_exchange_connections_ended",
        MetricType::Counter,
        "Streams of the exchange that ended, or did not come about, by reason",
    ),
    (
        "vestibule_exchange_ends_remembered",
        MetricType::Gauge,
        "Ends of registrations and vouchers that are remembered for the partner",
    ),
    (
        "vestibule_exchange_conflicts_ended",
        MetricType::Counter,
        "Registrations that were ended because their owner had got a last device at both halves",
    ),
    (
        "vestibule_portal_pages",
        MetricType::Counter,
        "Pages of the built-in portal, by what they say",
    ),
    ("vestibule_portal_connections", MetricType::Gauge, "Open connections to the built-in portal"),
    (
        "vestibule_portal_connections_refused",
        MetricType::Counter,
        "Connections to the built-in portal that were closed because too many were open",
    ),
    (
        "vestibule_portal_handshakes_failed",
        MetricType::Counter,
        "Connections to the built-in portal that came to no TLS session, for another name too",
    ),
    (
        "vestibule_core_answers",
        MetricType::Gauge,
        "1 if the core answered this scrape; if 0, the gauges below have no values",
    ),
    ("vestibule_leases_known", MetricType::Gauge, "Leases in memory, ended ones too"),
    ("vestibule_registrations", MetricType::Gauge, "Valid registrations"),
    ("vestibule_offers", MetricType::Gauge, "Offers that wait for their REQUEST"),
    ("vestibule_network_gated", MetricType::Gauge, "1 if the network is gated, else 0"),
    ("vestibule_network_pool_addresses", MetricType::Gauge, "Addresses in the network's pools"),
    (
        "vestibule_network_free_addresses",
        MetricType::Gauge,
        "Addresses of the network's pools that anybody can get now",
    ),
    ("vestibule_network_held_leases", MetricType::Gauge, "Addresses that clients hold now"),
    (
        "vestibule_network_declined_addresses",
        MetricType::Gauge,
        "Addresses in quarantine after a DECLINE",
    ),
    (
        "vestibule_network_registered_leases",
        MetricType::Gauge,
        "Held leases of registered hosts; 0 where there is no gate",
    ),
    (
        "vestibule_network_unregistered_leases",
        MetricType::Gauge,
        "Held leases of hosts that are not registered; 0 where there is no gate",
    ),
    (
        "vestibule_network_class_pool_addresses",
        MetricType::Gauge,
        "Addresses in the network's pools for one class of hosts",
    ),
    (
        "vestibule_network_class_free_addresses",
        MetricType::Gauge,
        "Addresses of those pools that a host of the class can get now",
    ),
    (
        "vestibule_network_class_held_leases",
        MetricType::Gauge,
        "Addresses of those pools that clients hold now",
    ),
    (
        "vestibule_network_class_misplaced_leases",
        MetricType::Gauge,
        "Those of them whose host is of the other class by now",
    ),
];

/// The names of all families, in the order of the text.
pub const METRIC_NAMES: &[&str] = &{
    let mut names = [""; FAMILIES.len()];
    let mut index = 0;
    while index < FAMILIES.len() {
        names[index] = FAMILIES[index].0;
        index += 1;
    }
    names
};
