//go:build !(posthorn_mutant_ack_first || posthorn_mutant_rescue_blind || posthorn_mutant_commit_fails || posthorn_mutant_weak_durability || posthorn_mutant_ack_on_panic || posthorn_mutant_no_poll || posthorn_mutant_bury_in_two || posthorn_mutant_dirty_kept || posthorn_mutant_retry_in_two)

package mutant

// planted is the fault of this build: none.
const planted = ""
