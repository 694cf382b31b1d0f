// Package safety says which of Posthorn's safety features a build has: all of
// them, each a constant, so that the compiler leaves no trace of the question.
//
// Only the benchmark builds without one, by the build tag posthorn_bench_unsafe_
// and the feature's name, to tell what it costs. Such a build loses messages, or
// handles them twice, where the feature is what prevents it. Another tag,
// planted_settle_last, puts a known fault into a build, which the tests must find.
package safety

// A Feature is one of the features, for those who build without it.
type Feature struct {
	Name  string // the build tag is TagPrefix and this
	On    bool   // in this build
	About string // what a build without it does not do
}

// TagPrefix and the name of a feature make the build tag that leaves it out.
const TagPrefix = "posthorn_bench_unsafe_"

// PlantedSettleLast is the build tag of a fault: a unit is settled after its effect
// has run, and not before (store/order_planted.go).
const PlantedSettleLast = "planted_settle_last"

// Features lists all of them.
func Features() []Feature {
	return []Feature{
		{"fencing", Fencing, "compare the token of a claim when it is settled"},
		{"leases", Leases, "renew leases, keep a table of them, or look for those that ran out"},
		{"history", History, "note failed attempts and crashes, or remove them with their message"},
		{"guard", Guard, "ask about handlers' statements, or inspect their sessions"},
		{"crashcount", CrashCount, "count deliveries when it claims"},
	}
}
