//! The options of the failover protocol: their codes, their sizes, and which message keeps which.
//!
//! An option that a message does not keep is skipped unread, whatever its size: that is how peers of
//! other versions stay readable.

/// Codes of options.
pub(super) mod code {
    pub(crate) const ADDRESSES_TRANSFERRED: u16 = 1;
    pub(crate) const ASSIGNED_ADDRESS: u16 = 2;
    pub(crate) const BINDING_STATUS: u16 = 3;
    pub(crate) const CLIENT_IDENTIFIER: u16 = 4;
    pub(crate) const HARDWARE_ADDRESS: u16 = 5;
    pub(crate) const CLIENT_LAST_TRANSACTION: u16 = 6;
    pub(crate) const HASH_BUCKETS: u16 = 11;
    pub(crate) const FLAGS: u16 = 12;
    pub(crate) const LEASE_EXPIRATION: u16 = 13;
    pub(crate) const UNACKNOWLEDGED_MAX: u16 = 14;
    pub(crate) const MCLT: u16 = 15;
    pub(crate) const MESSAGE: u16 = 16;
    pub(crate) const POTENTIAL_EXPIRATION: u16 = 18;
    pub(crate) const RECEIVE_TIMER: u16 = 19;
    pub(crate) const PROTOCOL_VERSION: u16 = 20;
    pub(crate) const REJECT_REASON: u16 = 21;
    pub(crate) const RELATIONSHIP: u16 = 22;
    pub(crate) const SERVER_FLAGS: u16 = 23;
    pub(crate) const SERVER_STATE: u16 = 24;
    pub(crate) const SINCE: u16 = 25;
    pub(crate) const TLS_REPLY: u16 = 26;
    pub(crate) const TLS_REQUEST: u16 = 27;
    pub(crate) const VENDOR: u16 = 28;
}

/// Types of messages.
pub(super) mod message_type {
    pub(crate) const POOL_REQUEST: u8 = 1;
    pub(crate) const POOL_RESPONSE: u8 = 2;
    pub(crate) const BINDING_UPDATE: u8 = 3;
    pub(crate) const BINDING_ACKNOWLEDGEMENT: u8 = 4;
    pub(crate) const CONNECT: u8 = 5;
    pub(crate) const CONNECT_ACKNOWLEDGEMENT: u8 = 6;
    pub(crate) const UPDATE_REQUEST_ALL: u8 = 7;
    pub(crate) const UPDATE_DONE: u8 = 8;
    pub(crate) const UPDATE_REQUEST: u8 = 9;
    pub(crate) const STATE: u8 = 10;
    pub(crate) const CONTACT: u8 = 11;
    pub(crate) const DISCONNECT: u8 = 12;
}

/// The options that a message of a type keeps.
pub(super) fn kept(message_type: u8) -> &'static [u16] {
    use code::{
        ADDRESSES_TRANSFERRED, ASSIGNED_ADDRESS, BINDING_STATUS, CLIENT_IDENTIFIER,
        CLIENT_LAST_TRANSACTION, FLAGS, HARDWARE_ADDRESS, HASH_BUCKETS, LEASE_EXPIRATION, MCLT,
        MESSAGE, POTENTIAL_EXPIRATION, PROTOCOL_VERSION, RECEIVE_TIMER, REJECT_REASON,
        RELATIONSHIP, SERVER_FLAGS, SERVER_STATE, SINCE, TLS_REPLY, TLS_REQUEST,
        UNACKNOWLEDGED_MAX, VENDOR,
    };
    match message_type {
        message_type::CONNECT => &[
            HASH_BUCKETS,
            UNACKNOWLEDGED_MAX,
            MCLT,
            RECEIVE_TIMER,
            PROTOCOL_VERSION,
            RELATIONSHIP,
            TLS_REQUEST,
            VENDOR,
        ],
        message_type::CONNECT_ACKNOWLEDGEMENT => &[
            UNACKNOWLEDGED_MAX,
            MESSAGE,
            RECEIVE_TIMER,
            PROTOCOL_VERSION,
            REJECT_REASON,
            RELATIONSHIP,
            TLS_REPLY,
            VENDOR,
        ],
        message_type::DISCONNECT => &[MESSAGE, REJECT_REASON],
        message_type::STATE => &[SERVER_FLAGS, SERVER_STATE, SINCE],
        message_type::BINDING_UPDATE => &[
            ASSIGNED_ADDRESS,
            BINDING_STATUS,
            CLIENT_IDENTIFIER,
            HARDWARE_ADDRESS,
            CLIENT_LAST_TRANSACTION,
            FLAGS,
            LEASE_EXPIRATION,
            POTENTIAL_EXPIRATION,
            SINCE,
        ],
        message_type::BINDING_ACKNOWLEDGEMENT => &[ASSIGNED_ADDRESS, REJECT_REASON, MESSAGE],
        message_type::POOL_RESPONSE => &[ADDRESSES_TRANSFERRED],
        _ => &[],
    }
}

/// Bytes of an option that always has as many; `None`: any number.
pub(super) fn fixed_length(option: u16) -> Option<usize> {
    match option {
        code::BINDING_STATUS
        | code::PROTOCOL_VERSION
        | code::REJECT_REASON
        | code::SERVER_FLAGS
        | code::SERVER_STATE
        | code::TLS_REPLY
        | code::TLS_REQUEST => Some(1),
        code::FLAGS => Some(2),
        code::ADDRESSES_TRANSFERRED
        | code::ASSIGNED_ADDRESS
        | code::CLIENT_LAST_TRANSACTION
        | code::LEASE_EXPIRATION
        | code::UNACKNOWLEDGED_MAX
        | code::MCLT
        | code::POTENTIAL_EXPIRATION
        | code::RECEIVE_TIMER
        | code::SINCE => Some(4),
        code::HASH_BUCKETS => Some(32),
        _ => None,
    }
}
