//! The table: what happens, what gimg does, how it ends, and which tests show it.

/// One fault.
pub(super) struct Fault {
    /// What happens.
    pub(super) what: &'static str,
    /// What gimg does.
    pub(super) then: &'static str,
    /// With which codes gimg can end.
    pub(super) exit: &'static [u8],
    /// `module::function` of the tests.
    pub(super) tests: &'static [&'static str],
}

const fn fault(
    what: &'static str,
    then: &'static str,
    exit: &'static [u8],
    tests: &'static [&'static str],
) -> Fault {
    Fault { what, then, exit, tests }
}

/// All of them, in the order of the specification that they come from.
pub(super) const FAULTS: &[Fault] = &[
    fault(
        "a connection is reset as soon as it is made, twice, everywhere",
        "tries again",
        &[0],
        &[
            "faults::connections::resets_when_connecting_are_survived_everywhere",
            "faults::command::soak_every_kind_of_fault_at_every_request_of_a_build",
        ],
    ),
    fault(
        "a connection is reset after 1, 50 or 99 % of a body, everywhere",
        "asks whether the blob is there, and sends it in a new session if not",
        &[0],
        &[
            "faults::connections::resets_in_a_body_are_survived_everywhere",
            "faults::command::soak_every_kind_of_fault_at_every_request_of_a_build",
        ],
    ),
    fault(
        "a connection is reset in the middle of any chunk of an upload",
        "asks how far the upload is and goes on there; at most one chunk is sent twice",
        &[0],
        &["faults::connections::broken_chunks_go_on_where_they_stopped"],
    ),
    fault(
        "a request is carried out but its answer is lost, everywhere",
        "finds that the blob is there and does not send it again",
        &[0],
        &["faults::connections::lost_answers_are_survived_everywhere_and_nothing_is_sent_twice"],
    ),
    fault(
        "three times 500, 502, 503 or 504, everywhere",
        "tries again",
        &[0],
        &["faults::answers::three_server_errors_are_survived_everywhere"],
    ),
    fault(
        "502, 503 or 504 without end, or no connection at all",
        "gives up and says where and after how many tries; does without what only saves work",
        &[7, 0],
        &[
            "faults::answers::server_errors_without_end_are_unavailable",
            "faults::connections::a_registry_that_is_gone_is_unavailable",
        ],
    ),
    fault(
        "429 with `Retry-After: 2`",
        "sends nothing at all to that host for two seconds",
        &[0],
        &["faults::answers::a_registry_that_wants_rest_gets_it_from_all_requests"],
    ),
    fault(
        "`Retry-After` as a date, as a Go duration, as nonsense, or of an hour",
        "waits as asked, by its own measure for nonsense; an hour ends the run at once",
        &[0, 7],
        &["faults::answers::a_wish_to_wait_is_read_in_every_form"],
    ),
    fault(
        "403 whose text speaks of a rate limit, everywhere",
        "treats it as 429",
        &[0],
        &["faults::answers::rate_limits_are_survived_everywhere"],
    ),
    fault(
        "an answer that does not come, or whose head or body comes byte by byte, everywhere",
        "tries again after 60 s without progress; gives up if that goes on",
        &[0, 7],
        &[
            "faults::stalls::answers_that_do_not_come_are_asked_for_again_everywhere",
            "faults::stalls::registries_that_stay_slow_are_unavailable",
        ],
    ),
    fault(
        "a registry that does not read a body",
        "the same",
        &[0, 7],
        &["faults::stalls::bodies_that_nobody_reads_are_given_up"],
    ),
    fault(
        "a token ends between two requests, everywhere",
        "gets one new token",
        &[0],
        &["faults::tokens::a_token_that_ends_between_requests_is_fetched_again_once"],
    ),
    fault(
        "a token ends while a body is sent: 401 at its end, everywhere",
        "gets a new token, looks whether the blob is there, and sends it once more if not",
        &[0],
        &["faults::tokens::a_token_that_ends_in_a_body_costs_one_more_upload"],
    ),
    fault(
        "the token server answers 500 twice; then 401",
        "tries again; a no is not asked for twice",
        &[0, 6],
        &["faults::tokens::a_server_of_tokens_that_fails_is_asked_again_unless_it_says_no"],
    ),
    fault(
        "the token server knows no POST (400, 401, 404, 405)",
        "asks by GET",
        &[0],
        &["faults::tokens::where_refresh_tokens_are_not_taken_by_post_get_does"],
    ),
    fault(
        "a token without a life or under its other name; an answer of 1 MB; a web page",
        "takes it for 60 s; refuses what is too large or no token",
        &[0, 8, 6],
        &["faults::tokens::what_a_server_of_tokens_answers_is_bounded_and_checked"],
    ),
    fault(
        "a token server at a metadata service, at a name that leads inside, or by http",
        "refuses before it connects; no credentials are sent",
        &[6],
        &[
            "faults::tokens::a_server_of_tokens_at_a_private_address_is_refused",
            "reach::a_public_registry_can_not_name_a_token_server_inside",
        ],
    ),
    fault(
        "307 or 308 to another host, of PUT and PATCH",
        "sends the body there, without authorization and cookies",
        &[0],
        &[
            "faults::elsewhere::redirects_to_another_host_carry_the_body_but_no_authorization",
            "reach::credentials_do_not_come_back_with_a_redirect",
        ],
    ),
    fault(
        "redirects in a circle, or eleven in a row",
        "gives up",
        &[7],
        &["faults::elsewhere::redirects_have_an_end"],
    ),
    fault(
        "an upload's location that is relative, absolute, without scheme, at another host, missing, or private",
        "follows it with every byte of its query; refuses the last two",
        &[0, 10],
        &[
            "faults::elsewhere::locations_are_followed_as_written_and_never_to_a_private_place",
            "reach::a_public_registry_can_not_send_bytes_inside",
        ],
    ),
    fault(
        "a mount is answered by 202, 400, 401, 403, 404, 405, 429, 500, a reset, or not at all",
        "uploads the blob",
        &[0],
        &["faults::elsewhere::mounts_that_fail_become_uploads"],
    ),
    fault(
        "a blob's PUT is answered by 200, 202 or 204; or with another digest",
        "takes it; refuses the latter, naming both digests",
        &[0, 8],
        &["faults::answers::what_the_answer_to_a_blob_says_is_looked_at"],
    ),
    fault(
        "416, BLOB_UPLOAD_UNKNOWN or BLOB_UPLOAD_INVALID at the end of an upload",
        "looks whether the blob is there, and sends it in a new session if not",
        &[0],
        &["faults::answers::dead_sessions_are_opened_again"],
    ),
    fault(
        "chunks of at most 4 MiB; of at least 10 MiB; both",
        "adapts; says that both can't be",
        &[0, 10],
        &["faults::answers::limits_of_bodies_and_chunks_are_kept"],
    ),
    fault(
        "413 for a blob; for a manifest",
        "sends the blob in chunks; says that the manifest is over the registry's limit",
        &[0, 10],
        &["faults::answers::limits_of_bodies_and_chunks_are_kept"],
    ),
    fault(
        "HEAD says that a blob is there, the manifest's PUT says that it is not",
        "sends the blobs that are named, whatever HEAD says",
        &[0],
        &["faults::answers::blobs_that_are_not_there_after_all_are_sent_again"],
    ),
    fault(
        "content is seen only a while after its PUT",
        "tries again",
        &[0],
        &["faults::answers::content_that_is_seen_late_is_waited_for"],
    ),
    fault(
        "the index is stored but its tag may not move",
        "leaves the tag; names the image by its digest, which is there",
        &[10],
        &["faults::answers::a_tag_that_may_not_move_leaves_the_image_reachable_by_digest"],
    ),
    fault(
        "one of three tags can't be put",
        "puts the other two and names the one",
        &[10],
        &["faults::answers::one_tag_that_fails_does_not_stop_the_others"],
    ),
    fault(
        "a referrer is refused",
        "warns; where attestations are required, fails before any tag moves",
        &[0, 11],
        &["referrers::a_refused_referrer_is_a_warning_or_an_error_before_any_tag"],
    ),
    fault(
        "no referrers API, or 401, a page or a redirect instead; two writers of the list under a tag",
        "keeps the list under a tag; no entry is lost",
        &[0],
        &[
            "referrers::nonsense_for_an_answer_means_that_there_is_no_api",
            "referrers::a_list_that_others_overwrite_is_healed_and_theirs_stays",
            "referrers::fifty_at_once_from_one_process_lose_none",
            "referrers::fifty_at_once_from_eight_processes_with_one_store_lose_none",
        ],
    ),
    fault(
        "a flipped bit in a base's manifest, config or layer",
        "asks once more; refuses what stays wrong",
        &[0, 8],
        &[
            "faults::pulls::manifests_that_break_or_are_damaged_once_are_asked_for_again",
            "faults::pulls::content_that_stays_damaged_is_refused",
            "faults::pulls::base_layers_that_break_on_their_way_to_another_registry_arrive_whole",
        ],
    ),
    fault(
        "a body that ends early, by length or by chunk; one that is compressed unasked",
        "goes on where it stopped, or begins again",
        &[0],
        &[
            "faults::pulls::blobs_that_break_go_on_where_they_stopped",
            "faults::pulls::manifests_that_break_or_are_damaged_once_are_asked_for_again",
            "faults::pulls::base_layers_that_break_on_their_way_to_another_registry_arrive_whole",
        ],
    ),
    fault(
        "a name that does not exist; a name server that fails twice; an address that nobody answers at",
        "fails at once; asks again; uses the other address",
        &[7, 0],
        &[
            "reach::names_that_do_not_exist_fail_at_once_and_others_are_asked_again",
            "reach::an_address_that_is_not_reached_is_followed_by_the_next",
        ],
    ),
    fault(
        "a certificate that is expired, of another host or self-signed; old TLS; a client certificate wanted; a handshake that stands still",
        "says which; never turns to http",
        &[7],
        &[
            "tls::what_is_wrong_with_a_certificate_is_said",
            "tls::a_failed_handshake_never_leads_to_http",
            "tls::a_wanted_client_certificate_is_named",
            "tls::a_handshake_that_stands_still_ends",
        ],
    ),
    fault(
        "HTTP/2: GOAWAY, REFUSED_STREAM, INTERNAL_ERROR, a connection that is another host's (421)",
        "tries again on a new connection; turns to HTTP/1.1 for a host that goes on like that",
        &[0],
        &[
            "http2::streams_that_are_reset_are_opened_again",
            "http2::connections_that_say_goodbye_are_replaced",
            "http2::a_host_whose_http2_keeps_failing_is_spoken_to_in_http1",
            "http2::a_misdirected_request_goes_over_another_connection",
        ],
    ),
    fault(
        "a proxy that answers 407 or 503 to CONNECT, or dies in an upload; NO_PROXY with ports and nets",
        "names the proxy without its password; tries again",
        &[7, 0],
        &[
            "proxies::a_proxy_that_refuses_is_named_without_its_password",
            "proxies::a_proxy_that_dies_during_an_upload_is_asked_again",
            "proxies::no_proxy_and_this_machine_are_reached_straight",
            "registry::proxy::no_proxy_has_names_ports_addresses_and_nets",
        ],
    ),
    fault(
        "a mirror that is down, or has other content",
        "asks the registry itself, with one warning",
        &[0],
        &[
            "mirrors::a_mirror_that_fails_is_left_with_one_warning",
            "mirrors::wrong_content_of_a_mirror_never_gets_through",
        ],
    ),
    fault(
        "no space left, at every write",
        "goes on without the cache, with one warning; leaves no unfinished output",
        &[0, 9],
        &[
            "store_full::a_cache_without_room_is_one_warning_at_whatever_write",
            "store_full::an_output_without_room_fails_and_leaves_no_unfinished_file",
            "store_full::a_temporary_directory_without_room_fails_and_leaves_the_last_image",
            "store_full::soak_a_go_cache_without_room_changes_no_digest",
        ],
    ),
    fault(
        "HOME that is unset or can't be written; a cache of somebody else, or that others may write",
        "goes on without the cache, with one warning",
        &[0],
        &["store::a_cache_that_cannot_be_used_is_one_warning_and_the_same_image"],
    ),
    fault(
        "a damaged cache: cut, empty, flipped, exchanged, a link or a directory in place of a file",
        "heals it; the digest is right",
        &[0],
        &[
            "store::a_wrong_entry_is_healed_and_the_digest_is_right",
            "store::verifying_says_what_was_wrong_and_heals",
            "store::tests::every_damage_is_healed",
        ],
    ),
    fault(
        "eight runs at once on one cache and one repository; some are killed",
        "the others succeed, with the same digest",
        &[0],
        &[
            "store::eight_at_once_and_two_that_prune_disturb_nobody",
            "store::soak_killed_runs_leave_a_cache_that_is_right",
        ],
    ),
    fault(
        "SIGINT, SIGTERM, SIGHUP, SIGKILL, a closed terminal or reader, at every request",
        "stops the compilers, says which tags have moved, ends its uploads; a second signal ends it at once",
        &[130, 143, 129],
        &[
            "interrupt::ctrl_c_stops_the_compilers_and_cleans_up",
            "interrupt::sigterm_stops_the_compilers_and_cleans_up",
            "interrupt::ctrl_c_between_tags_lets_the_one_that_moves_arrive_and_says_which_moved",
            "interrupt::a_second_signal_ends_at_once",
            "interrupt::a_terminal_that_is_closed_stops_the_run",
            "interrupt::results_that_nobody_reads_are_an_error_after_the_push",
            "kills::a_push_that_is_killed_at_any_request_leaves_whole_images_and_the_next_run_ends_it",
            "kills::no_compiler_outlives_a_killed_gimg",
        ],
    ),
    fault(
        "a clock that is ten years off; a sleep in the middle of an upload",
        "measures time by the monotonic clock; names the clock where a certificate seems out of date",
        &[0, 7],
        &[
            "clock::only_cli_reads_the_clock",
            "registry::tls::certificate_errors_name_what_is_wrong",
            "clock::integration_a_clock_ten_years_off_gives_the_same_digest",
            "interrupt::a_sleep_in_the_middle_of_an_upload_is_survived",
        ],
    ),
];
