package metrics

// pages are the dashboards. Figures of the store are the same on every host, so they are
// taken by max; what each host counts is added up.
func pages() []page {
	return []page{overviewPage(), queuePage(), workersPage(), deadPage()}
}

func overviewPage() page {
	return page{name: "overview", title: "overview", panels: []panel{
		{title: "Store", figure: true, bad: 1, low: true, help: "1 while the store answers every host.",
			queries: []query{{"min(posthorn_store_up)", ""}}},
		{title: "Workers", figure: true, bad: 1, low: true,
			queries: []query{{`sum(max by (program) (posthorn_workers{state="running"}))`, ""}}},
		{title: "Oldest ready", figure: true, bad: 900, unit: "s", help: "How long the oldest message has been due.",
			queries: []query{{"max(posthorn_queue_oldest_ready_seconds)", ""}}},
		{title: "Ready", figure: true, bad: 10_000, unit: "short",
			queries: []query{{`sum(max by (queue) (posthorn_queue_messages{state="ready"}))`, ""}}},
		{title: "Dead letters", figure: true, bad: 100, unit: "short",
			queries: []query{{"sum(max by (queue) (posthorn_dead_letters))", ""}}},
		{title: "Failing", figure: true, bad: 0.5, unit: "percentunit", help: "The worst queue's part of failed attempts.",
			queries: []query{{"max(posthorn:failures:ratio5m)", ""}}},
		{title: "Messages by outcome", unit: "ops", queries: []query{
			{"sum by (class, verdict) (rate(posthorn_messages_total[$__rate_interval]))", "{{class}} {{verdict}}"}}},
		{title: "Messages waiting", unit: "short", queries: []query{
			{"sum by (state) (max by (queue, state) (posthorn_queue_messages))", "{{state}}"}}},
		{title: "Run time by kind, 99 %", unit: "s", queries: []query{
			{"topk(10, posthorn:message_run_seconds:p99_5m)", "{{kind}}"}}},
		{title: "Wait by queue, 99 %", unit: "s", queries: []query{
			{"topk(10, posthorn:message_wait_seconds:p99_5m)", "{{queue}}"}}},
		{title: "Crashes, lost leases, stuck handlers", unit: "short", queries: []query{
			{"sum(increase(posthorn_message_crashes_total[$__rate_interval]))", "crashes"},
			{"sum(increase(posthorn_stale_settlements_total[$__rate_interval]))", "leases lost"},
			{"sum(increase(posthorn_stuck_handlers_total[$__rate_interval]))", "stuck handlers"}}},
		{title: "Store: time to tell its figures", unit: "s", queries: []query{
			{"max by (instance) (posthorn_store_read_seconds)", "{{instance}}"},
			{"max by (instance) (posthorn_store_figures_age_seconds)", "age, {{instance}}"}}},
		{title: "Versions", unit: "short", queries: []query{
			{"count by (version, store) (posthorn_build_info)", "{{version}} {{store}}"}}},
	}}
}

func queuePage() page {
	waits := `rate(posthorn_message_wait_seconds_bucket{queue=~"$queue"}[$__rate_interval])`
	byQueue := []variable{{"queue", "posthorn_queue_messages"}}
	return page{name: "queue", title: "queues", variables: byQueue, panels: []panel{
		{title: "Messages by state", unit: "short", queries: []query{
			{`max by (queue, state) (posthorn_queue_messages{queue=~"$queue"})`, "{{queue}} {{state}}"}}},
		{title: "Oldest ready", unit: "s", queries: []query{
			{`max by (queue) (posthorn_queue_oldest_ready_seconds{queue=~"$queue"})`, "{{queue}}"}}},
		{title: "Outcomes", unit: "ops", queries: []query{
			{`sum by (class, verdict) (rate(posthorn_messages_total{queue=~"$queue"}[$__rate_interval]))`,
				"{{class}} {{verdict}}"}}},
		{title: "By kind", unit: "ops", queries: []query{
			{`topk(10, sum by (kind) (rate(posthorn_messages_total{queue=~"$queue"}[$__rate_interval])))`, "{{kind}}"}}},
		{title: "Retries", unit: "ops", queries: []query{
			{`sum by (queue) (rate(posthorn_messages_total{queue=~"$queue", verdict="retry"}[$__rate_interval]))`,
				"{{queue}}"}}},
		{title: "Failed attempts", unit: "percentunit", queries: []query{
			{`posthorn:failures:ratio5m{queue=~"$queue"}`, "{{queue}}"}}},
		{title: "Wait", unit: "s", queries: []query{
			{"histogram_quantile(0.5, sum by (le) (" + waits + "))", "50 %"},
			{"histogram_quantile(0.99, sum by (le) (" + waits + "))", "99 %"}}},
		{title: "Paused", unit: "short", queries: []query{
			{`max by (queue) (posthorn_queue_paused{queue=~"$queue"})`, "{{queue}}"}}},
	}}
}

func workersPage() page {
	byProgram := []variable{{"program", "posthorn_workers"}}
	return page{name: "workers", title: "workers", variables: byProgram, panels: []panel{
		{title: "Workers by state", unit: "short", queries: []query{
			{`max by (program, state) (posthorn_workers{program=~"$program"})`, "{{program}} {{state}}"}}},
		{title: "Messages in hand, slots", unit: "short", queries: []query{
			{`max by (program) (posthorn_worker_messages_in_hand{program=~"$program"})`, "{{program}}: in hand"},
			{`max by (program) (posthorn_worker_slots{program=~"$program"})`, "{{program}}: slots"}}},
		{title: "Memory of the largest worker", unit: "bytes", queries: []query{
			{`max by (program) (posthorn_worker_resident_memory_bytes{program=~"$program"})`, "{{program}}"},
			{`max by (program) (posthorn_worker_memory_limit_bytes{program=~"$program"})`, "{{program}}: limit"}}},
		{title: "Restarts by reason", unit: "short", queries: []query{
			{`sum by (program, reason) (increase(posthorn_process_restarts_total{program=~"$program"}[$__rate_interval]))`,
				"{{program}}: {{reason}}"}}},
		{title: "Run time by kind, 99 %", unit: "s", queries: []query{
			{"topk(10, posthorn:message_run_seconds:p99_5m)", "{{kind}}"}}},
		{title: "Messages of one commit, mean", unit: "short", queries: []query{
			{"sum(rate(posthorn_group_commit_effects_sum[$__rate_interval])) / " +
				"sum(rate(posthorn_group_commit_effects_count[$__rate_interval]))", "effects"}}},
		{title: "Connections to the store", unit: "short", queries: []query{
			{"sum by (pool) (posthorn_pool_busy_connections)", "{{pool}}: busy"},
			{"sum by (pool) (posthorn_pool_open_connections)", "{{pool}}: open"},
			{"sum by (pool) (posthorn_pool_size)", "{{pool}}: most"}}},
		{title: "Waiting for connections", unit: "s", help: "Seconds waited in each second, by all together.",
			queries: []query{
				{"sum by (pool) (rate(posthorn_pool_wait_seconds_total[$__rate_interval]))", "{{pool}}"},
				{"sum by (pool) (rate(posthorn_pool_waits_total[$__rate_interval]))", "{{pool}}: waits"}}},
		{title: "Connections destroyed, by the handler that left them dirty", unit: "short", queries: []query{
			{"sum by (kind) (increase(posthorn_dirty_connections_total[$__rate_interval]))", "{{kind}}"}}},
		{title: "Events that the metrics missed", unit: "short", queries: []query{
			{"sum by (instance) (increase(posthorn_dropped_events_total[$__rate_interval]))", "{{instance}}"}}},
	}}
}

func deadPage() page {
	buried := `rate(posthorn_messages_total{queue=~"$queue", verdict="bury"}[$__rate_interval])`
	return page{name: "dead-letters", title: "dead letters", variables: []variable{{"queue", "posthorn_dead_letters"}},
		panels: []panel{
			{title: "Dead letters", unit: "short", queries: []query{
				{`max by (queue) (posthorn_dead_letters{queue=~"$queue"})`, "{{queue}}"}}},
			{title: "Faults that have dead letters", unit: "short", queries: []query{
				{"max by (state) (posthorn_dead_letter_groups)", "{{state}}"}}},
			{title: "Buried, by how the last attempt ended", unit: "ops", queries: []query{
				{"sum by (class) (" + buried + ")", "{{class}}"}}},
			{title: "Buried, by kind", unit: "ops", queries: []query{
				{"topk(10, sum by (kind) (" + buried + "))", "{{kind}}"}}},
			{title: "Suspects: they may have killed their worker, and run alone", unit: "short", queries: []query{
				{`max by (queue) (posthorn_queue_messages{queue=~"$queue", state="suspect"})`, "{{queue}}"}}},
		}}
}
