package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/tools/events"
	"k8s.io/client-go/util/retry"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

const (
	callLimit = 10 * time.Second
	// From the latest end of a call to the moment at which others may take its claim for orphaned.
	settleMargin = 10 * time.Second
)

// Reconciler ends the sessions of requests, each by one call.
type Reconciler struct {
	client.Client
	// Reads receipts, of which no informer is wanted.
	Reader      client.Reader
	HTTP        *http.Client
	Holder      string
	EqualWrites bool
	// Told the end of each request with EqualWrites.
	Events events.EventRecorder
}

func (r *Reconciler) Reconcile(ctx context.Context, request ctrl.Request) (ctrl.Result, error) {
	object := &SessionKill{}
	if err := r.Get(ctx, request.NamespacedName, object); err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	if object.Status.CompletionTime != nil || !isSupported(&object.Spec) {
		return ctrl.Result{}, nil
	}
	gateway, err := r.gateway(ctx, object)
	if err != nil {
		return ctrl.Result{}, err
	}
	dispatch := Dispatch{AttemptID: rand.Text(), Operation: "KillProcessList", StartTime: metav1.Now()}
	if r.EqualWrites {
		return r.killUnderReceipt(ctx, object, gateway, dispatch)
	}
	return r.kill(ctx, object, gateway, dispatch)
}

// isSupported keeps the peer from killing where it would have to look at the process list, or to wait.
func isSupported(spec *SessionKillSpec) bool {
	expects := slices.ContainsFunc(spec.Sessions, func(session Session) bool { return session.Expect != nil })
	return spec.Mode == "Kill" && !spec.Suspend && spec.NotBeforeTime == "" && spec.Verification.Policy != "Required" &&
		!expects
}

// kill claims by a patch of the status that holds for one resourceVersion only: of all who try, one gets through.
func (r *Reconciler) kill(
	ctx context.Context, object *SessionKill, gateway *Gateway, dispatch Dispatch,
) (ctrl.Result, error) {
	// An outdated view of an object, such as one that has been finished since, fails on its version and is looked at again.
	version := map[string]string{"resourceVersion": object.ResourceVersion}
	if object.Status.StartTime != nil {
		end := unknown(object, "the call was claimed by a process that is gone")
		return again(r.patchStatus(ctx, object, version, finished(object, &end)))
	}
	if dispatch.StartTime.After(object.Spec.NotAfterTime.Time) {
		end := tooLate(object)
		return again(r.patchStatus(ctx, object, version, finished(object, &end)))
	}
	claim := map[string]any{
		"observedGeneration": object.Generation,
		"startTime":          dispatch.StartTime,
		"dispatch":           dispatch,
		"conditions":         conditions(object, "Unknown", "Dispatching", "the call is being made"),
	}
	if err := r.patchStatus(ctx, object, version, claim); err != nil {
		return again(err)
	}
	// Once claimed, the end of the process is put off until the outcome is written.
	ctx = context.WithoutCancel(ctx)
	end := r.call(ctx, object, gateway, dispatch)
	return ctrl.Result{}, r.settle(ctx, object, finished(object, &end))
}

// killUnderReceipt claims by creating an object whose name follows from the request, and records the outcome in it.
func (r *Reconciler) killUnderReceipt(
	ctx context.Context, object *SessionKill, gateway *Gateway, dispatch Dispatch,
) (ctrl.Result, error) {
	receipt := newReceipt(object, &dispatch, r.Holder)
	key := client.ObjectKeyFromObject(receipt)
	if dispatch.StartTime.After(object.Spec.NotAfterTime.Time) {
		err := r.Reader.Get(ctx, key, receipt)
		if apierrors.IsNotFound(err) {
			end := tooLate(object)
			return ctrl.Result{}, r.settle(ctx, object, finished(object, &end))
		}
		if err != nil {
			return ctrl.Result{}, err
		}
		return r.taken(ctx, object, receipt)
	}
	err := r.Create(ctx, receipt)
	if apierrors.IsAlreadyExists(err) {
		err = r.Reader.Get(ctx, key, receipt)
		// Its own, if the answer to the create was lost and the client library repeated it.
		if err == nil && receipt.Spec.AttemptID != dispatch.AttemptID {
			return r.taken(ctx, object, receipt)
		}
	}
	if err != nil {
		return ctrl.Result{}, err
	}
	ctx = context.WithoutCancel(ctx)
	end := r.call(ctx, object, gateway, dispatch)
	return ctrl.Result{}, r.settleBoth(ctx, object, receipt, &end)
}

// taken ends a request whose receipt somebody else made, or this peer in an earlier life.
func (r *Reconciler) taken(ctx context.Context, object *SessionKill, receipt *SessionKillReceipt) (ctrl.Result, error) {
	dispatch := Dispatch{ReceiptName: receipt.Name, AttemptID: receipt.Spec.AttemptID,
		Operation: receipt.Spec.Operation, StartTime: receipt.Spec.ClaimTime}
	if record := receipt.Status; record != nil {
		dispatch.RequestID = record.RequestID
		end := Conclusion{record.Outcome, "executed before, as SessionKill " + receipt.Spec.SessionKillRef.Name,
			record.Sessions, &dispatch}
		if receipt.Spec.SessionKillRef.UID != object.UID && end.Reason == "SessionsKilled" {
			end.Reason = "AlreadyExecuted"
		}
		return ctrl.Result{}, r.settle(ctx, object, finished(object, &end))
	}
	if left := time.Until(receipt.Spec.SettleDeadlineTime.Time); left > 0 {
		return ctrl.Result{RequeueAfter: left}, nil
	}
	end := unknown(object, "operator "+receipt.Spec.HolderIdentity+" claimed the call and is gone")
	end.Dispatch = &dispatch
	return ctrl.Result{}, r.settleBoth(ctx, object, receipt, &end)
}

func (r *Reconciler) call(ctx context.Context, object *SessionKill, gateway *Gateway, dispatch Dispatch) Conclusion {
	if time.Now().After(object.Spec.NotAfterTime.Time) {
		return tooLate(object)
	}
	ctx, cancel := context.WithTimeout(ctx, callLimit)
	defer cancel()
	answer, err := gateway.KillProcessList(ctx, &object.Spec)
	if err != nil {
		ctrl.LoggerFrom(ctx).Error(err, "the call failed")
	}
	return called(object.Spec.Sessions, dispatch, answer, err)
}

// gateway is the way to call for object, from the informers' caches.
func (r *Reconciler) gateway(ctx context.Context, object *SessionKill) (*Gateway, error) {
	connection := &OceanBaseConnection{}
	key := client.ObjectKey{Namespace: object.Namespace, Name: object.Spec.ConnectionRef.Name}
	if err := r.Get(ctx, key, connection); err != nil {
		return nil, err
	}
	secret := &corev1.Secret{}
	alibabaCloud := connection.Spec.AlibabaCloud
	name := alibabaCloud.Credentials.SecretRef.Name
	if err := r.Get(ctx, client.ObjectKey{Namespace: object.Namespace, Name: name}, secret); err != nil {
		return nil, err
	}
	id, accessKey := secret.Data["accessKeyID"], secret.Data["accessKeySecret"]
	if alibabaCloud.Endpoint == "" || len(id) == 0 || len(accessKey) == 0 {
		return nil, fmt.Errorf("connection %s: no endpoint, or no access key in secret %s", connection.Name, secret.Name)
	}
	return &Gateway{Client: r.HTTP, Endpoint: alibabaCloud.Endpoint, AccessKeyID: string(id),
		AccessKey: string(accessKey), SecurityToken: string(secret.Data["securityToken"])}, nil
}

func (r *Reconciler) settleBoth(
	ctx context.Context, object *SessionKill, receipt *SessionKillReceipt, end *Conclusion,
) error {
	// The request first: people wait for it.
	if err := r.settle(ctx, object, finished(object, end)); err != nil {
		return err
	}
	level := corev1.EventTypeWarning
	if end.Reason == "SessionsKilled" {
		level = corev1.EventTypeNormal
	}
	r.Events.Eventf(object, nil, level, end.Reason, "KillSessions", "%s", end.Message)
	record := &SessionKillReceiptStatus{Outcome: end.Reason, CompletionTime: metav1.Now(), Operation: "KillProcessList",
		Sessions: end.Sessions}
	if end.Dispatch != nil {
		record.RequestID = end.Dispatch.RequestID
	}
	return r.settle(ctx, receipt, record)
}

// settle writes a last status, again for as long as the API server does not answer, but for a minute at most. The UID keeps
// it from an object that was created anew under the same name.
func (r *Reconciler) settle(ctx context.Context, object client.Object, status any) error {
	pauses := wait.Backoff{Duration: 50 * time.Millisecond, Factor: 2, Jitter: 0.2, Steps: 10, Cap: 10 * time.Second}
	isTransient := func(err error) bool {
		return !apierrors.IsNotFound(err) && !apierrors.IsConflict(err) && !apierrors.IsInvalid(err)
	}
	return retry.OnError(pauses, isTransient, func() error {
		return r.patchStatus(ctx, object, map[string]string{"uid": string(object.GetUID())}, status)
	})
}

func (r *Reconciler) patchStatus(ctx context.Context, object client.Object, onlyIf map[string]string, status any) error {
	patch, err := json.Marshal(map[string]any{"metadata": onlyIf, "status": status})
	if err != nil {
		return err
	}
	// The answer is decoded into the copy.
	target := object.DeepCopyObject().(client.Object)
	return r.Status().Patch(ctx, target, client.RawPatch(types.MergePatchType, patch))
}

// again turns a lost race into another look, which is no error.
func again(err error) (ctrl.Result, error) {
	if apierrors.IsConflict(err) {
		return ctrl.Result{RequeueAfter: 100 * time.Millisecond}, nil
	}
	return ctrl.Result{}, client.IgnoreNotFound(err)
}
