package main

import (
	"context"
	"flag"
	"time"

	commitclient "github.com/argoproj/argo-cd/v3/commitserver/apiclient"
	"github.com/argoproj/argo-cd/v3/controller"
	"github.com/argoproj/argo-cd/v3/controller/sharding"
	"github.com/argoproj/argo-cd/v3/pkg/apis/application/v1alpha1"
	appclientset "github.com/argoproj/argo-cd/v3/pkg/client/clientset/versioned"
	"github.com/argoproj/argo-cd/v3/reposerver/apiclient"
	"github.com/argoproj/argo-cd/v3/util/argo/normalizers"
	cacheutil "github.com/argoproj/argo-cd/v3/util/cache"
	appstatecache "github.com/argoproj/argo-cd/v3/util/cache/appstate"
	kubeutil "github.com/argoproj/argo-cd/v3/util/kube"
	"github.com/argoproj/argo-cd/v3/util/settings"
	"github.com/argoproj/argo-cd/v3/util/tls"
	goredis "github.com/redis/go-redis/v9"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
)

// What its own command does with its default values and --persist-resource-health. That command serves its metrics on all
// addresses of the machine, and has no flag for another.
func applicationController(flags []string) error {
	set := flag.NewFlagSet("application-controller", flag.ContinueOnError)
	kubeconfig := set.String("kubeconfig", "", "who it is")
	namespace := set.String("namespace", "argocd", "where its settings are")
	redis := set.String("redis", "", "the store's address")
	repoServer := set.String("repo-server", "", "the repo-server's address")
	metrics := set.String("metrics-address", "", "where it serves metrics and health")
	selfHeal := set.Duration("self-heal-timeout", 0, "how long after a sync it heals; with 0, 2 s and longer each time")
	if err := set.Parse(flags); err != nil {
		return err
	}
	config, err := clientcmd.BuildConfigFromFlags("", *kubeconfig)
	if err != nil {
		return err
	}
	if err := v1alpha1.SetK8SConfigDefaults(config); err != nil {
		return err
	}
	kubeClient := kubernetes.NewForConfigOrDie(config)
	ctx := context.Background()
	settingsManager := settings.NewSettingsManager(ctx, kubeClient, *namespace)
	shards, err := sharding.GetClusterSharding(kubeClient, settingsManager, "legacy", false)
	if err != nil {
		return err
	}
	store := goredis.NewClient(&goredis.Options{Addr: *redis})
	shared := cacheutil.NewRedisCache(store, 24*time.Hour, cacheutil.RedisCompressionGZip)
	cache := cacheutil.NewCache(cacheutil.NewTwoLevelClient(shared, 10*time.Minute))
	var backoff *wait.Backoff
	if *selfHeal == 0 {
		backoff = &wait.Backoff{Duration: 2 * time.Second, Factor: 3, Cap: 5 * time.Minute}
	}
	argo, err := controller.NewApplicationController(
		*namespace,
		settingsManager,
		kubeClient,
		appclientset.NewForConfigOrDie(config),
		apiclient.NewRepoServerClientset(*repoServer, 60, tls.Configuration{DisableTLS: true}),
		commitclient.NewCommitServerClientset(""),
		appstatecache.NewCache(cache, time.Hour),
		kubeutil.NewKubectl(),
		2*time.Minute, // Resync,
		0,             // hard resync
		time.Minute,   // and its jitter.
		*selfHeal,
		backoff,
		0,             // No limit of a sync.
		3*time.Minute, // For errors of the repo-server.
		0,             // The port of metrics: see below.
		0, nil, nil, nil,
		20,   // kubectl at a time.
		true, // The health of each object, with its message, in the Application.
		shards,
		nil,
		nil,
		false,
		false,
		normalizers.IgnoreNormalizerOpts{},
		[]string{"all"},
		false,
	)
	if err != nil {
		return err
	}
	argo.GetMetricsServer().Addr = *metrics
	argo.Run(ctx, 20, 10, 5)
	return nil
}
