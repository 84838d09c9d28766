//! The shipped unit in a real systemd: one boot, and then what an operator does.

// What supports the tests has to fail the test that asked for it, there and then.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod clients;
mod credentials;
mod deb;
mod ends;
mod features;
mod hooks;
mod import;
mod instances;
mod journal;
mod lab;
mod landlock;
mod made;
mod missing;
mod notify_reload;
mod outages;
mod packages;
mod reload;
mod restart;
mod rpm;
mod sandbox;
mod shipped;
mod sockets;
mod start;
mod survives;
mod wedged;

use lab::Lab;

#[test]
fn the_shipped_unit_does_what_an_operator_expects() {
    // One boot for all of it, in the order of a service's life.
    let lab = Lab::boot();
    shipped::the_unit_is_right_and_hardened(&lab);
    shipped::host_keys_have_a_file_that_root_and_the_service_can_write(&lab);
    let wedged = wedged::start(&lab);
    start::a_start_returns_when_the_tunnels_are_up(&lab);
    shipped::the_group_may_command_and_others_may_not(&lab);
    reload::a_reload_applies_the_file(&lab);
    import::a_unit_is_what_systemd_makes_of_it(&lab);
    reload::a_reload_of_a_bad_file_fails_loudly_and_changes_nothing(&lab);
    journal::the_journal_is_found_by_tunnel(&lab);
    journal::a_journal_that_is_started_anew_has_what_comes_then(&lab);
    journal::the_catalog_explains_a_line(&lab);
    journal::logs_are_those_of_the_unit(&lab);
    hooks::programs_are_in_the_journal_and_have_their_time_at_the_end(&lab);
    landlock::it_is_in_force_where_the_kernel_has_it_and_said_where_not(&lab);
    landlock::the_file_of_a_forward_that_is_gone_is_removed(&lab);
    ends::a_killed_daemon_is_started_again(&lab);
    ends::a_daemon_that_hangs_is_started_again(&lab);
    credentials::a_passphrase_comes_in_every_way_that_systemd_has(&lab);
    sockets::a_client_of_a_systemd_socket_is_served_whenever_it_comes(&lab);
    sockets::the_file_of_a_systemd_socket_is_left_alone(&lab);
    sockets::a_name_without_a_unit_is_told(&lab);
    sockets::a_client_does_not_start_a_wrong_file_over_and_over(&lab);
    sockets::remove(&lab);
    wedged.comes_again(&lab);
    ends::a_stop_is_clean(&lab);
    ends::a_signal_to_end_is_a_clean_stop(&lab);
    ends::a_stop_lets_a_proxy_command_carry_what_drains(&lab);
    start::a_bad_file_does_not_loop(&lab);
    start::a_dead_server_does_not_hang_the_start(&lab);
    start::a_mute_server_has_its_start_timeout(&lab);
    start::what_requires_it_waits_for_a_server_that_comes_late(&lab);
}
