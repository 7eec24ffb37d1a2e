// External-dns' own registry, plan and provider, driven by lines: what its controller's RunOnce does, timed.
//
// Usage: external-dns FILE FLAG…
//
// FILE holds what is desired, a JSON list of [DNS name, address, TTL seconds]; the flags are external-dns' own. Each
// line of standard input is one synchronization: the DNS names on it, separated by spaces, are left out of what is
// desired. It is answered by a line of JSON: seconds of reading, planning and applying, CPU seconds of this process,
// and how many changes there were.
//
// Left out of RunOnce: the source (its Kubernetes informers; here a list in memory), metrics and events. The interval
// between two runs and the wait after an event are the controller's, so they are in no figure.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"syscall"
	"time"

	log "github.com/sirupsen/logrus"

	"sigs.k8s.io/external-dns/endpoint"
	"sigs.k8s.io/external-dns/pkg/apis/externaldns"
	"sigs.k8s.io/external-dns/plan"
	"sigs.k8s.io/external-dns/provider"
	"sigs.k8s.io/external-dns/provider/coredns"
	"sigs.k8s.io/external-dns/provider/rfc2136"
	"sigs.k8s.io/external-dns/registry"
	"sigs.k8s.io/external-dns/registry/noop"
	"sigs.k8s.io/external-dns/registry/txt"
)

// Answer is what one synchronization took.
type Answer struct {
	Records float64 `json:"records"`
	Plan    float64 `json:"plan"`
	Apply   float64 `json:"apply"`
	CPU     float64 `json:"cpu"`
	Create  int     `json:"create"`
	Update  int     `json:"update"`
	Delete  int     `json:"delete"`
}

type wanted struct {
	name, address string
	ttl           int64
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "external-dns:", err)
		os.Exit(1)
	}
}

func read(path string) []wanted {
	text, err := os.ReadFile(path)
	check(err)
	var rows [][3]any
	check(json.Unmarshal(text, &rows))
	found := make([]wanted, 0, len(rows))
	for _, row := range rows {
		found = append(found, wanted{row[0].(string), row[1].(string), int64(row[2].(float64))})
	}
	return found
}

// desired makes the endpoints anew, as a source does: one of each name, with all its addresses.
func desired(all []wanted, without map[string]bool) []*endpoint.Endpoint {
	var found []*endpoint.Endpoint
	named := make(map[string]*endpoint.Endpoint, len(all))
	for _, each := range all {
		if without[each.name] {
			continue
		}
		if known, ok := named[each.name]; ok {
			known.Targets = append(known.Targets, each.address)
			continue
		}
		made := endpoint.NewEndpointWithTTL(each.name, endpoint.RecordTypeA, endpoint.TTL(each.ttl), each.address)
		named[each.name] = made
		found = append(found, made)
	}
	return found
}

func openProvider(ctx context.Context, cfg *externaldns.Config, filter *endpoint.DomainFilter) (provider.Provider, error) {
	switch cfg.Provider {
	case "coredns":
		return coredns.New(ctx, cfg, filter)
	case "rfc2136":
		return rfc2136.New(ctx, cfg, filter)
	}
	return nil, fmt.Errorf("no provider %q here", cfg.Provider)
}

func openRegistry(cfg *externaldns.Config, over provider.Provider) (registry.Registry, error) {
	switch cfg.Registry {
	case "txt":
		return txt.New(cfg, over)
	case "noop":
		return noop.New(cfg, over)
	}
	return nil, fmt.Errorf("no registry %q here", cfg.Registry)
}

// cpu is what this process has used so far, user and system together.
func cpu() float64 {
	var used syscall.Rusage
	check(syscall.Getrusage(syscall.RUSAGE_SELF, &used))
	return float64(used.Utime.Nano()+used.Stime.Nano()) / 1e9
}

// runOnce is the controller's: read, plan, apply.
func runOnce(ctx context.Context, cfg *externaldns.Config, kept registry.Registry, filter *endpoint.DomainFilter, wants []*endpoint.Endpoint) Answer {
	spent, began := cpu(), time.Now()
	records, err := kept.Records(ctx)
	check(err)
	read := time.Now()
	ctx = context.WithValue(ctx, provider.RecordsContextKey, records)
	wants, err = kept.AdjustEndpoints(wants)
	check(err)
	made := (&plan.Plan{
		Policies:       []plan.Policy{plan.Policies[cfg.Policy]},
		Current:        records,
		Desired:        wants,
		DomainFilter:   endpoint.MatchAllDomainFilters{filter, kept.GetDomainFilter()},
		ManagedRecords: cfg.ManagedDNSRecordTypes,
		ExcludeRecords: cfg.ExcludeDNSRecordTypes,
		OwnerID:        kept.OwnerID(),
	}).Calculate()
	some := made.Changes.HasChanges()
	planned := time.Now()
	answer := Answer{Create: len(made.Changes.Create), Update: len(made.Changes.UpdateNew), Delete: len(made.Changes.Delete)}
	if some {
		check(kept.ApplyChanges(ctx, made.Changes))
	}
	answer.Records, answer.Plan, answer.Apply = read.Sub(began).Seconds(), planned.Sub(read).Seconds(), time.Since(planned).Seconds()
	answer.CPU = cpu() - spent
	return answer
}

func main() {
	ctx := context.Background()
	cfg := externaldns.NewConfig()
	check(cfg.ParseFlags(os.Args[2:]))
	level, err := log.ParseLevel(cfg.LogLevel)
	check(err)
	log.SetLevel(level)
	if _, ok := plan.Policies[cfg.Policy]; !ok {
		check(fmt.Errorf("no policy %q", cfg.Policy))
	}
	all := read(os.Args[1])
	filter := endpoint.NewDomainFilterWithExclusions(cfg.DomainFilter, cfg.DomainExclude)
	over, err := openProvider(ctx, cfg, filter)
	check(err)
	kept, err := openRegistry(cfg, over)
	check(err)
	fmt.Println("ready")
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		without := map[string]bool{}
		for _, name := range strings.Fields(lines.Text()) {
			without[name] = true
		}
		said, err := json.Marshal(runOnce(ctx, cfg, kept, filter, desired(all, without)))
		check(err)
		fmt.Println(string(said))
	}
}
