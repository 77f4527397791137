// A one-shot SessionKill operator as an engineer of the controller-runtime ecosystem would write it. See ../README.md.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/metrics/server"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
)

func main() {
	equalWrites := flag.Bool("equal-writes", false, "claim by a SessionKillReceipt, record the outcome in it, and write an Event")
	workers := flag.Int("workers", 64, "reconciles at the same time")
	flag.Parse()
	ctrl.SetLogger(logr.FromSlogHandler(slog.NewTextHandler(os.Stderr, nil)))
	if err := run(ctrl.SetupSignalHandler(), *equalWrites, *workers); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, equalWrites bool, workers int) error {
	config, err := ctrl.GetConfig()
	if err != nil {
		return err
	}
	// No limit on this side: the API server's priority and fairness decides.
	config.QPS = -1
	mgr, err := ctrl.NewManager(config, ctrl.Options{
		Scheme:  newScheme(),
		Metrics: server.Options{BindAddress: "0"},
		Cache: cache.Options{
			DefaultNamespaces: map[string]cache.Config{"default": {}},
			ByObject: map[client.Object]cache.ByObject{
				// Finished requests are neither listed nor kept.
				&SessionKill{}: {Field: fields.OneTermEqualSelector("status.completionTime", "")},
				// Access keys come from an informer, like connections: a rotated key is seen at once, and no request reads one.
				&corev1.Secret{}: {Label: labels.SelectorFromSet(labels.Set{"sessionkill.dev/credentials": "true"})},
			},
		},
	})
	if err != nil {
		return err
	}
	// Made here, so that they are filled before the first reconcile.
	for _, object := range []client.Object{&SessionKill{}, &OceanBaseConnection{}, &corev1.Secret{}} {
		if _, err := mgr.GetCache().GetInformer(ctx, object); err != nil {
			return err
		}
	}
	hostname, err := os.Hostname()
	if err != nil {
		return err
	}
	reconciler := &Reconciler{
		Client:      mgr.GetClient(),
		Reader:      mgr.GetAPIReader(),
		HTTP:        NewHTTPClient(workers),
		Events:      mgr.GetEventRecorder("peer-controller-runtime"),
		Holder:      fmt.Sprintf("%s-%d", hostname, os.Getpid()),
		EqualWrites: equalWrites,
	}
	// Changes of the status are its own, and an object that leaves the selection is finished.
	relevant := predicate.And(predicate.GenerationChangedPredicate{},
		predicate.Funcs{DeleteFunc: func(event.DeleteEvent) bool { return false }})
	err = ctrl.NewControllerManagedBy(mgr).
		For(&SessionKill{}, builder.WithPredicates(relevant)).
		WithOptions(controller.Options{MaxConcurrentReconciles: workers}).
		Complete(reconciler)
	if err != nil {
		return err
	}
	// Runnables of this kind start after the caches are filled.
	ready := manager.RunnableFunc(func(ctx context.Context) error {
		if !mgr.GetCache().WaitForCacheSync(ctx) {
			return errors.New("the caches were not filled")
		}
		fmt.Println("ready")
		return nil
	})
	if err := mgr.Add(ready); err != nil {
		return err
	}
	return mgr.Start(ctx)
}
